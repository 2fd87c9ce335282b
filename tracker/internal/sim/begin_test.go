package sim

import (
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
)

// liveAnd runs two trackers with a full catalog, and adds a third that has the
// mark of a new network and was never started.
func liveAnd(t *testing.T) (w *world, m *member, all int) {
	w = newWorld(t, 2, 1)
	w.start()
	w.awaitReady()
	w.fill(600)
	w.settle()
	w.members[0].view(func(c *catalog.Catalog) { all = c.Len() })
	m = w.add()
	for _, each := range w.members {
		each.setRoster(infos(w.members))
	}
	return w, m, all
}

// slowly makes catching up with the others take longer than a start waits.
func (w *world) slowly(m *member) {
	for _, o := range w.members {
		if o != m {
			w.net.slow(m.id, o.id, 600*time.Millisecond)
			w.net.slow(o.id, m.id, 600*time.Millisecond)
		}
	}
}

// joined waits until m serves, which it must do with the whole catalog alone.
func (m *member) joined(all int) {
	m.w.t.Helper()
	took := m.w.await("the marked one serves", healTime, func() bool { return m.running().Serving() == nil })
	facts := 0
	m.view(func(c *catalog.Catalog) { facts = c.Len() })
	if id := m.running().Network(); facts != all || id != netID {
		m.w.t.Errorf("after %v it serves %d of %d facts as one of network %v, want all of them and %v", took, facts, all, id, netID)
	}
}

// A tracker that was marked as one of a new network is started when the network
// has long been alive, on a slow line.
func TestMarkedTrackerJoinsALiveNetwork(t *testing.T) {
	for what, id := range map[string]protocol.NetworkID{"marked with its id": netID, "marked with another id": {2}} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w, m, all := liveAnd(t)
				m.config = func(c *replica.Config) { c.NewNetwork = id }
				w.slowly(m)
				m.start()
				m.joined(all)
				w.settle()
			})
		})
	}
}

// The others are away for a moment when it is started.
func TestMarkedTrackerWaitsForTheOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, m, all := liveAnd(t)
		m.config = func(c *replica.Config) { c.BeginAfter = time.Minute }
		w.cut(m)
		m.start()
		time.Sleep(30 * time.Second)
		m.waits()
		w.heal()
		m.joined(all)
	})
}

// Where nobody comes, the network is begun at last; where all answer, at once.
func TestMarkedTrackersBegin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 2, 1)
		for _, m := range w.members {
			m.config = func(c *replica.Config) { c.BeginAfter = time.Minute }
		}
		w.cut(w.members[0])
		begun := time.Now()
		w.members[0].start()
		w.await("it begins the network", 2*time.Minute, func() bool { return w.members[0].running().Serving() == nil })
		if took := time.Since(begun); took < time.Minute {
			t.Errorf("alone it has begun the network after %v, want a minute", took)
		}
	})
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 2, 1)
		for _, m := range w.members {
			m.config = func(c *replica.Config) { c.BeginAfter = time.Hour }
		}
		w.start()
		w.awaitReady()
	})
}
