// Package crowd_test puts hundreds to thousands of light clients on trackers
// that run as processes of their own: the test binary, called again. A light
// client is a libp2p host with the trackers client of package node, without
// files and records; it does at a tracker all that a whole client does.
package crowd_test

import (
	"fmt"
	"os"
	"testing"
)

// role says what a process of this binary is.
const role = "P2PSHARE_CROWD_ROLE"

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(role) {
	case "tracker":
		err = beTracker(os.Stdin, os.Stdout)
	case "crowd":
		err = beCrowd(os.Stdin, os.Stdout)
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
