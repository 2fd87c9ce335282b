package node_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node"
)

// All trackers are away for ten minutes, and for ten more, by the clocks of the
// clients: a running download goes on all the time, also on a stream that is
// opened meanwhile, and when its ticket has run out.
func TestTrackersAwayForMinutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	var ahead atomic.Int64
	clock := node.WithClock(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	ada, seeding := w.stalling("ada", clock, node.WithUploadLimit(4<<20))
	bob := w.user("bob", clock)
	w.group("g", ada, bob)
	path := w.file("f.bin", 16<<20)
	ada.share("g", path)
	d := bob.begin("g", "f.bin")
	grows := func(what string) {
		t.Helper()
		before := d.Progress().Done
		w.eventually(what, func() bool { return d.Progress().Done > before })
	}
	grows("the first pieces are there")
	for _, tr := range w.trackers {
		w.ok(tr.Close())
	}
	for _, c := range []*client{ada, bob} {
		w.eventually("the loss of the trackers is known", func() bool {
			for _, tr := range c.Trackers(t.Context()) {
				if tr.State == "connected" {
					return false
				}
			}
			return true
		})
	}
	close(seeding.release)
	for minutes := 2; minutes <= 20; minutes += 2 {
		ahead.Store(int64(time.Duration(minutes) * time.Minute))
		if minutes%10 == 8 { // a new stream, with the ticket of before
			w.ok(d.Pause(t.Context()))
			w.ok(d.Resume())
		}
		grows(fmt.Sprintf("it goes on without trackers in minute %d: %+v", minutes, d.Progress()))
	}
	if p := d.Progress(); p.Done == p.Total {
		t.Fatal("the download was complete before the time was over")
	}
	w.same(bob.finish(d), path)
}
