// Package crowd_test puts hundreds to thousands of light clients on trackers
// that run as processes of their own: the test binary, called again. A light
// client is a libp2p host with the trackers client of package node, without
// files and records; it does at a tracker all that a whole client does.
package crowd_test

import (
	"os"
	"testing"

	"github.com/p2pshare/p2pshare/internal/reexec"
)

func TestMain(m *testing.M) {
	os.Exit(reexec.Main(m, map[string]func(*reexec.Parent) error{"tracker": beTracker, "crowd": beCrowd}))
}
