package node_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/internal/promise"
	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

// stall is the longest pause in the progress of a download when a tracker dies.
const stall = time.Second

// follow reads the progress of a download to its end, and returns the longest
// time in which nothing came. at is called once a third of the file is there.
func follow(d *node.Download, at func()) (longest time.Duration) {
	last, done := time.Now(), int64(0)
	for p := range d.Updates() {
		if p.Done > done {
			longest = max(longest, time.Since(last))
			last, done = time.Now(), p.Done
		}
		if at != nil && p.Done > p.Total/3 {
			at()
			at = nil
		}
	}
	return longest
}

// TestTrackerDiesDuringDownload closes first the tracker that the downloader
// uses and then, at another download, all that are left.
func TestTrackerDiesDuringDownload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	ada, bob := w.paced("ada", 16<<20), w.user("bob")
	w.group("g", ada, bob)
	kill := func() {
		for _, i := range bob.Trackers(t.Context()) {
			if i.State == "connected" {
				w.ok(w.trackers[i.Number-1].Close())
			}
		}
	}
	for _, name := range []string{"one.bin", "two.bin"} {
		path := w.file(name, 24<<20)
		ada.share("g", path)
		d := bob.begin("g", name)
		if got := follow(d, kill); got > promise.Within(stall) {
			t.Errorf("%s stood still for %v", name, got)
		} else {
			t.Logf("%s stood still for %v at most", name, got.Round(time.Millisecond))
		}
		w.same(bob.finish(d), path)
	}
}

func TestFailOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	ada, bob := w.user("ada"), w.user("bob")
	w.group("g", ada, bob)
	w.ok(w.trackers[0].Close())
	for _, c := range []*client{ada, bob} {
		began := time.Now()
		groups, err := c.Groups(t.Context())
		w.ok(err)
		if len(groups) != 1 || time.Since(began) > promise.Within(5*time.Second) {
			t.Errorf("%s: %v after %v", c.name, groups, time.Since(began))
		}
	}
	_, err := ada.CreateGroup(t.Context(), "later")
	w.ok(err)
	path := w.file("f.bin", 1<<20)
	ada.share("g", path)
	w.same(bob.download("g", "f.bin"), path)

	w.restartTracker(1)
	w.ok(w.trackers[1].Close())
	groups, err := bob.Groups(t.Context())
	w.ok(err)
	if !slices.ContainsFunc(groups, func(g node.Group) bool { return g.Name == "later" }) {
		t.Errorf("tracker 1 lacks what happened while it was away: %v", groups)
	}
	w.ok(w.trackers[0].Close())
	_, err = bob.Groups(t.Context())
	w.want(err, protocol.CodeNoTracker)
	for _, e := range w.entries {
		if !strings.Contains(err.Error(), e.Text) {
			t.Errorf("%q does not name %s", err, e.Text)
		}
	}
	for _, info := range bob.Trackers(t.Context()) {
		if info.State != "unreachable" || info.Reason == "" {
			t.Errorf("listed as %+v", info)
		}
	}
}
