//go:build unix

package main_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
	"github.com/p2pshare/p2pshare/protocol/roster"
)

// addLine gives the list one more line, that of a key which is not used yet, as
// the operator of a further tracker does.
func (n *network) addLine() {
	n.t.Helper()
	n.trackers = append(n.trackers, nil)
	folder := filepath.Join(n.Dir, fmt.Sprint("tracker-", len(n.trackers)))
	line, err := exec.CommandContext(n.ctx, "p2pshare", "tracker", "id", "--data", folder, quietAddr(n.t)).Output()
	if err != nil {
		n.t.Fatal(err)
	}
	list, err := os.ReadFile(n.Info)
	if err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(n.Info, append(list, line...), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// quietAddr is an address that nobody listens at, and whose port the system gives
// to no outgoing connection.
func quietAddr(t testing.TB) string {
	t.Helper()
	for range 1000 {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(20_000)))
		if err != nil {
			continue // taken
		}
		defer l.Close()
		return l.Addr().String()
	}
	t.Fatal("no port is free")
	return ""
}

// place is what a tracker is called in messages.
func (n *network) place(number int) string {
	n.t.Helper()
	list, err := roster.Read(n.Info)
	if err != nil {
		n.t.Fatal(err)
	}
	at := list[number-1].Addr
	return fmt.Sprintf("tracker %d (%s:%s)", number, at[0].Value(), at[1].Value())
}

func (n *network) hangup(number int) {
	n.t.Helper()
	if err := n.trackers[number-1].Hangup(); err != nil {
		n.t.Fatal(err)
	}
}

// says waits until a tracker has said on standard error what a pattern matches.
func (n *network) says(p *world.Proc, pattern string) {
	n.t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	n.eventually(fmt.Sprintf("%s says %s", p.Name, pattern), func() bool { return re.MatchString(p.Stderr()) })
}

// A tracker that is started before the others have its line says what is to be
// done, and begins no network of its own, also when it is told to.
func TestAddedTooEarly(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2)
	n.addLine()
	p, err := n.Begin(n.ctx, 3, "--new-network")
	if err != nil {
		t.Fatal(err)
	}
	n.trackers[2] = p
	one, two := regexp.QuoteMeta(n.place(1)), regexp.QuoteMeta(n.place(2))
	n.says(p, "^warning: not serving: E_BUSY: this tracker knows no network yet .*: "+one+" does not know this one .*SIGHUP.*, "+two+" does not know this one")
	n.says(p, "^warning: tracker refuses: "+one+": .*SIGHUP or a restart")
	if text := p.Stderr(); strings.Contains(text, "--new-network") {
		t.Errorf("it is told to begin a network: %s", text)
	}
	if got := n.status(p, "serving"); !strings.HasPrefix(got, "no: ") || !strings.Contains(got, n.place(2)+" does not know this one") {
		t.Errorf("serving: %s", got)
	}
	if got := n.status(p, "trackers"); !strings.HasPrefix(got, "1 of 3 connected; "+n.place(1)) {
		t.Errorf("trackers: %s", got)
	}
	n.hangup(1)
	n.hangup(2)
	n.eventually("all are connected", func() bool { return n.status(p, "trackers") == "3 of 3 connected" })
	n.says(p, "^note: tracker connected: "+one+"$")
	n.says(p, "^note: serving$")
	if text := n.trackers[0].Stderr(); text != "" {
		t.Errorf("the first tracker has said %s", text)
	}
}

// Of two networks in one list each tracker says so, and how to mend it does.
func TestTwoNetworksInOneList(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1)
	ada := n.users("lab", "ada")[0]
	n.addLine()
	// Begun while the first is stopped: nothing keeps it from that.
	err := n.trackers[0].Stop(n.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if n.trackers[1], err = n.Tracker(n.ctx, 2, "--new-network"); err != nil {
		t.Fatal(err)
	}
	n.startTracker(1)
	for i, p := range n.trackers {
		other := n.place(2 - i)
		n.says(p, "^warning: tracker of another network: "+regexp.QuoteMeta(other)+": .*begun by mistake.*catalog.db.*key.*without --new-network")
		if got := n.status(p, "trackers"); !strings.HasPrefix(got, "1 of 2 connected; "+other+": it is part of another network") {
			t.Errorf("trackers: %s", got)
		}
		log, err := os.ReadFile(filepath.Join(n.Dir, fmt.Sprintf("tracker-%d", i+1), "tracker.log"))
		if err != nil || !strings.Contains(string(log), `what="tracker of another network" object="`+other) {
			t.Errorf("the log does not say so: %v\n%s", err, log)
		}
	}
	// As it says.
	if err := n.trackers[1].Stop(n.ctx); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(n.Dir, "tracker-2")
	if err := os.Rename(filepath.Join(folder, "catalog.db"), filepath.Join(n.Dir, "moved away")); err != nil {
		t.Fatal(err)
	}
	n.startTracker(2)
	n.eventually("both are connected", func() bool { return n.status(n.trackers[0], "trackers") == "2 of 2 connected" })
	n.says(n.trackers[0], "^note: tracker connected: ")
	if got := n.status(n.trackers[1], "users"); got != "1" {
		t.Errorf("it has %s users, want ada", got)
	}
	n.do(ada, "create_group after")
}

// A tracker that is lost is named, and so is its return; one that was removed
// from the list is not lost.
func TestLostTrackerIsNamed(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2)
	first := n.trackers[0]
	place := n.place(2)
	n.eventually("both are connected", func() bool { return n.status(first, "trackers") == "2 of 2 connected" })
	log := filepath.Join(n.Dir, "tracker-1", "tracker.log")
	n.eventually("it is in the log", func() bool {
		b, err := os.ReadFile(log)
		return err == nil && strings.Contains(string(b), `what="tracker connected" object="`+place+`" result="ok"`)
	})
	n.trackers[1].Kill()
	n.says(first, "^warning: tracker lost: "+regexp.QuoteMeta(place)+": it does not answer; it is tried again every few seconds$")
	n.startTracker(2)
	n.says(first, "^note: tracker connected: "+regexp.QuoteMeta(place)+"$")

	before := first.Stderr()
	whole, err := os.ReadFile(n.Info)
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.DeleteFunc(strings.SplitAfter(string(whole), "\n"), func(l string) bool { return l == "" || l[0] == '#' })
	if err := os.WriteFile(n.Info, []byte(lines[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	n.hangup(1)
	n.eventually("one is left", func() bool { return n.status(first, "trackers") == "1 of 1 connected" })
	n.says(n.trackers[1], "^warning: tracker refuses: ") // so the first had time to say something
	if text := strings.TrimPrefix(first.Stderr(), before); text != "" {
		t.Errorf("of a tracker that was removed it says %s", text)
	}
}
