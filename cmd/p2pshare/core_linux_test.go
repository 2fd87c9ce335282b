package main_test

import (
	"fmt"
	"os"
	"regexp"
	"testing"
)

// No process leaves its memory, with keys and passwords in it, on the disk.
func TestNoCoreDumps(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1)
	client := n.client("ada")
	n.do(client, "help quit")
	for _, pid := range []int{n.trackers[0].Pid(), client.Pid()} {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`(?m)^Max core file size +0 +0 `).Match(limits) {
			t.Errorf("process %d may write core files:\n%s", pid, limits)
		}
	}
}
