package node_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/internal/promise"
	"github.com/p2pshare/p2pshare/node"
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
		_, _, err := ada.Share(t.Context(), "g", path, nil)
		w.ok(err)
		var d *node.Download
		w.retry("the file is known", func() (err error) {
			d, err = bob.Download(t.Context(), "g", name, "")
			return err
		})
		if got := follow(d, kill); got > promise.Within(stall) {
			t.Errorf("%s stood still for %v", name, got)
		} else {
			t.Logf("%s stood still for %v at most", name, got.Round(time.Millisecond))
		}
		w.same(bob.finish(d), filepath.Join(w.folder("files"), name))
	}
}
