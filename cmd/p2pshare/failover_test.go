//go:build unix

package main_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
	"github.com/p2pshare/p2pshare/internal/promise"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/roster"
)

// giveUp is how long a command may take to find that no tracker is there, and
// back how long a client may need to work again once one is.
const (
	giveUp = 5 * time.Second
	back   = 10 * time.Second
)

// freeze lets trackers fall silent with their connections open, and thaws them
// at the end of the test.
func (n *network) freeze(trackers ...*world.Proc) {
	n.t.Helper()
	for _, p := range trackers {
		n.t.Cleanup(func() { _ = p.Thaw() })
		if err := p.Freeze(); err != nil {
			n.t.Fatal(err)
		}
	}
}

// holder returns the number of the tracker that holds a client's lease, 0 for none.
func (n *network) holder(c *world.Client) int {
	n.t.Helper()
	var r struct {
		Trackers []struct {
			Number int
			State  string
		}
	}
	if err := c.Do(n.ctx, "trackers", &r); err != nil {
		n.t.Fatal(err)
	}
	for _, t := range r.Trackers {
		if t.State == "connected" {
			return t.Number
		}
	}
	return 0
}

// status returns one line of what a tracker tells of itself at its console.
func (n *network) status(p *world.Proc, what string) string {
	n.t.Helper()
	if err := p.Write("status"); err != nil {
		n.t.Fatal(err)
	}
	for {
		line, err := p.Line(n.ctx)
		if err != nil {
			n.t.Fatal(err)
		}
		if text, ok := strings.CutPrefix(line, what+"\t"); ok {
			return text
		}
	}
}

// online returns how many members have the whole of the one file in a group.
func (n *network) online(c *world.Client, group string) int {
	var r struct {
		Files []struct{ Seeders int }
	}
	if err := c.Do(n.ctx, "list_files "+group, &r); err != nil || len(r.Files) != 1 {
		return 0
	}
	return r.Files[0].Seeders
}

// noTracker runs a command that must fail in time, naming all trackers, each with
// a reason that begins as given; "" is any.
func (n *network) noTracker(c *world.Client, command, reason string) {
	n.t.Helper()
	began := time.Now()
	err := c.Do(n.ctx, command, nil)
	took := time.Since(began)
	var e *world.Error
	if !errors.As(err, &e) || e.Reply.Error.Code != string(protocol.CodeNoTracker) {
		n.t.Fatalf("%s: got %v, want %s", command, err, protocol.CodeNoTracker)
	}
	if took > promise.Within(giveUp) {
		n.t.Errorf("%s: giving up took %v", command, took)
	}
	for _, p := range n.addresses() {
		_, why, named := strings.Cut(e.Reply.Error.Message, p+": ")
		if !named || !strings.HasPrefix(why, reason) || strings.IndexAny(why, ";)") < 1 {
			n.t.Errorf("%s: %q does not say of %s why: %s", command, e.Reply.Error.Message, p, reason)
		}
	}
	n.t.Logf("%s after %v: %s", command, took.Round(time.Millisecond), e.Reply.Error.Message)
}

// addresses returns the addresses of the network's trackers as its list has them.
func (n *network) addresses() []string {
	n.t.Helper()
	entries, err := roster.Read(n.Info)
	if err != nil {
		n.t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Text)
	}
	return out
}

// TestSilentTracker freezes the tracker that a client uses: nobody closes a
// connection, and commands and shares go on elsewhere all the same.
func TestSilentTracker(t *testing.T) {
	apart(t)
	n := newNetwork(t, 3)
	c := n.users("lab", "ada", "bob")
	path, _ := n.file("data.bin", 1<<20, 11)
	n.do(c[0], "upload_file lab "+path)
	first := n.holder(c[0])
	n.freeze(n.trackers[first-1])
	began := time.Now()
	n.do(c[0], "list_groups")
	t.Logf("the first command after the freeze took %v", time.Since(began).Round(time.Millisecond))
	if took := time.Since(began); took > promise.Within(giveUp) {
		t.Errorf("the first command after the freeze took %v", took)
	}
	n.within(promise.Within(4*time.Second), "another tracker holds the lease", func() bool {
		now := n.holder(c[0])
		return now != 0 && now != first
	})
	t.Logf("attached elsewhere %v after the freeze", time.Since(began).Round(time.Millisecond))
	n.eventually("the share is offered there", func() bool { return n.online(c[1], "lab") == 1 })
	// The frozen one is cooling down: nothing waits for it.
	for range 5 {
		began := time.Now()
		n.do(c[0], "list_groups")
		if took := time.Since(began); took > promise.Within(time.Second) {
			t.Errorf("a command took %v while another tracker was there", took)
		}
	}
}

// TestNoTrackerLeft takes all trackers away, by killing and by freezing them,
// while a download runs, and brings them back.
func TestNoTrackerLeft(t *testing.T) {
	apart(t)
	for name, tt := range map[string]struct {
		take   func(n *network)
		reason string
	}{
		"killed": {func(n *network) {
			for _, p := range n.trackers {
				p.Kill()
			}
		}, "connection refused"},
		"silent": {func(n *network) { n.freeze(n.trackers...) }, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, 2)
			carol := n.client("carol")
			c := n.users("lab", "ada", "bob")
			path, sum := n.file("data.bin", 128<<20, 12)
			n.do(c[0], "upload_file lab "+path)
			n.do(c[1], "download_file lab data.bin &")
			n.within(time.Minute, "the download runs", func() bool { return n.progress(c[1]).Done > 0 })
			tt.take(n)
			n.noTracker(c[0], "list_groups", "") // heard a moment ago
			n.within(time.Minute, "the download goes on to the end", func() bool {
				return n.progress(c[1]).State == "complete"
			})
			n.wantSHA1(filepath.Join(c[1].Downloads, "data.bin"), sum)
			n.noTracker(carol, "login carol 'some password'", tt.reason)

			for i, p := range n.trackers {
				if p.Thaw() != nil {
					n.begin(i + 1)
				}
			}
			began := time.Now()
			// Asked are the trackers: a command would have its client look for one.
			for i, p := range n.trackers {
				n.within(promise.Within(back)-time.Since(began), fmt.Sprintf("tracker %d knows both clients", i+1), func() bool {
					return n.status(p, "serving") == "yes" && n.status(p, "online") == "2"
				})
			}
			t.Logf("both clients were back after %v, without a command", time.Since(began).Round(time.Millisecond))
			for _, c := range c {
				n.within(promise.Within(back)-time.Since(began), "a tracker holds the lease", func() bool { return n.holder(c) != 0 })
			}
			n.within(promise.Within(back)-time.Since(began), "both are known to have the file", func() bool { return n.online(c[0], "lab") == 2 })
			t.Logf("and the file known to be at both after %v", time.Since(began).Round(time.Millisecond))
		})
	}
}

// TestTrackersKilledDuringDownload kills first the tracker that a downloader
// uses, then the other one. Pieces go on coming all the time.
func TestTrackersKilledDuringDownload(t *testing.T) {
	apart(t)
	n := newNetwork(t, 2)
	c := n.users("lab", "ada", "bob")
	n.quit(c[1])
	bob := n.client("bob", "--download-limit", "8MiB")
	path, sum := n.file("data.bin", 36<<20, 13)
	n.do(c[0], "upload_file lab "+path)
	n.eventually("the client is attached", func() bool { return n.holder(bob) != 0 })
	first := n.holder(bob)
	n.do(bob, "download_file lab data.bin &")
	var stood time.Duration
	last, done, killed := time.Now(), int64(0), 0
	n.within(time.Minute, "the download is complete", func() bool {
		p := n.progress(bob)
		if p.Done > done {
			if done > 0 {
				stood = max(stood, time.Since(last))
			}
			last, done = time.Now(), p.Done
		}
		if killed < 2 && done > int64(killed+1)*p.Size/4 {
			n.trackers[(first-1+killed)%2].Kill()
			killed++
		}
		return p.State == "complete"
	})
	t.Logf("with both trackers killed the longest time without a piece was %v", stood.Round(time.Millisecond))
	if killed != 2 || stood > promise.Within(time.Second) {
		t.Errorf("%d trackers were killed, and the download stood still for %v, want 2 and 1 s at most", killed, stood)
	}
	n.wantSHA1(filepath.Join(bob.Downloads, "data.bin"), sum)
}
