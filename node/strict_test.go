package node_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

// TestTicketsWhileAllTrackersAreAway: a ticket of an open stream runs out with
// no tracker to renew it at. By the grace rule the seeder goes on; if it is
// strict, it ends the stream and opens no other, until a tracker is back.
func TestTicketsWhileAllTrackersAreAway(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		strict bool
	}{{"grace", false}, {"strict", true}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			var ahead atomic.Int64
			opts := []node.Option{node.WithClock(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })}
			if tc.strict {
				opts = append(opts, node.WithStrictTickets())
			}
			ada, seeding := w.stalling("ada", opts...)
			bob := w.user("bob")
			w.group("g", ada, bob)
			d := w.running(ada, bob)
			w.ok(w.trackers[0].Close())
			w.eventually("both know that no tracker is there", func() bool {
				return !ada.connected() && !bob.connected()
			})
			ahead.Store(int64(protocol.TicketLife + 2*protocol.CredentialSkew))
			if tc.strict {
				w.eventually("the seeder ends the stream", func() bool { return d.Progress().Peers == 0 })
				close(seeding.release)
				done := d.Progress().Done
				if p := d.Progress(); p.Peers != 0 || p.State != node.Waiting || done == p.Total {
					t.Fatalf("the download goes on: %+v", p)
				}
				w.restartTracker(1)
			} else {
				close(seeding.release)
			}
			w.same(bob.finish(d), w.source("big.bin"))
		})
	}
}

// connected reports whether the client has a tracker, as far as it knows.
func (c *client) connected() bool {
	for _, i := range c.Trackers(c.w.Context()) {
		if i.State != "unreachable" {
			return true
		}
	}
	return false
}
