//go:build unix

package main_test

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// A running tracker takes another list on SIGHUP, and keeps the one it has when
// it cannot go on with what the file says.
func TestHangupReadsTheListAgain(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2)
	first := n.trackers[0]
	whole, err := os.ReadFile(n.Info)
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.DeleteFunc(strings.SplitAfter(strings.TrimSpace(string(whole)), "\n"), func(l string) bool { return l[0] == '#' })
	status := func() string { return n.status(first, "trackers") }
	hangup := func(content string) {
		t.Helper()
		if err := os.WriteFile(n.Info, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := first.Hangup(); err != nil {
			t.Fatal(err)
		}
	}
	n.eventually("both are connected", func() bool { return status() == "2 of 2 connected" })

	hangup(lines[0])
	n.eventually("one tracker is left", func() bool { return status() == "1 of 1 connected" })
	for i, broken := range []string{"no list", "", strings.Replace(lines[0], "127.0.0.1", "127.0.0.2", 1)} {
		hangup(broken)
		n.eventually("an error is told", func() bool {
			return strings.Count(first.Stderr(), "error: the list of trackers stays as it was") == i+1
		})
		if got := status(); got != "1 of 1 connected" {
			t.Errorf("after a list that is %q: %s", broken, got)
		}
	}
	if text := first.Stderr(); strings.Count(text, "(E_CONFIG)") != 3 {
		t.Errorf("not each error has its code: %s", text)
	}
	hangup(lines[1])
	n.eventually("it serves nothing", func() bool { return strings.HasPrefix(n.status(first, "serving"), "no") })
	n.eventually("its operator is told", func() bool {
		return strings.Contains(first.Stderr(), "not serving: E_BUSY: this tracker is no longer in the list of trackers; end it")
	})
	hangup(string(whole))
	n.eventually("both are connected again", func() bool { return status() == "2 of 2 connected" })
}
