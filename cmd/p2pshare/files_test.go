//go:build unix

package main_test

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
)

// limited makes processes start under a limit of open files.
func (n *network) limited(flag string, files int) {
	n.Wrap = []string{"sh", "-c", "ulimit " + flag + " " + strconv.Itoa(files) + ` && exec "$@"`, "sh"}
}

func TestTooFewOpenFiles(t *testing.T) {
	apart(t)
	n := newNetwork(t, 1)
	n.trackers[0].Kill()
	n.limited("-n", 900)
	p, err := n.Begin(n.ctx, 1, "--max-clients", "1000")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(n.ctx); err == nil {
		t.Fatal("it ended without an error")
	}
	said := p.Stderr()
	for _, want := range []string{"--max-clients 1000 needs 1600 open files", "allows this process 900", "(" + string(protocol.CodeConfig) + ")"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q does not say %q", said, want)
		}
	}
	// As many as it advises are served.
	if !strings.Contains(said, "lower --max-clients to 533") {
		t.Fatalf("%q advises something else", said)
	}
	if _, err := n.Tracker(n.ctx, 1, "--max-clients", "533"); err != nil {
		t.Fatal(err)
	}
}

// TestOpenFilesAreRaised starts a tracker under a soft limit that is too low:
// it may raise that to the hard one by itself, and does.
func TestOpenFilesAreRaised(t *testing.T) {
	apart(t)
	n := newNetwork(t, 1)
	n.trackers[0].Kill()
	n.limited("-Sn", 256)
	n.startTracker(1)
	limits, err := os.ReadFile("/proc/" + strconv.Itoa(n.trackers[0].Pid()) + "/limits")
	if err != nil {
		return // this system does not tell; the tracker started, though
	}
	for line := range bytes.Lines(limits) {
		f := strings.Fields(string(line))
		if !strings.HasPrefix(string(line), "Max open files") {
			continue
		}
		soft, _ := strconv.Atoi(f[3])
		if hard, err := strconv.Atoi(f[4]); err == nil && soft < hard-1 {
			t.Errorf("soft limit %d, hard limit %d", soft, hard)
		}
	}
}
