package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// fill makes some hundred facts.
func (w *world) fill(accounts int) {
	w.t.Helper()
	for i := range uint64(accounts) {
		w.members[int(i)%len(w.members)].must(act{kind: "register", n: i, name: fmt.Sprint("user-", i)})
	}
}

func TestOldCopyOfADisk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 3, 1)
		w.start()
		w.awaitReady()
		m, other := w.members[0], w.members[1]
		ada, bob, g := userOf(0), userOf(1), groupOf(1)
		w.fill(50)
		other.propose("group", func(*catalog.Catalog) []catalog.Draft { return catalog.NewGroup(g, "Films", ada) })
		other.propose("grant", func(c *catalog.Catalog) []catalog.Draft {
			w.model.admit(inGroup{g, bob}, knowledge{})
			return c.Grant(g, bob)
		})
		w.settle()
		old := m.disk.copied()
		// What the old copy does not know: a removal, made by this tracker itself,
		// a new password, more accounts.
		m.propose("remove", func(c *catalog.Catalog) []catalog.Draft { return c.Remove(g, bob, m.id.String()) })
		m.must(act{kind: "password", n: 5000})
		for i := range uint64(50) {
			m.must(act{kind: "register", n: 100 + i, name: fmt.Sprint("late-", i)})
		}
		w.settle()
		m.kill()
		m.disk.restore(old)
		// Alone it serves what it has, and takes changes, removals among them.
		w.cut(m)
		m.start()
		w.await("it serves alone", time.Minute, func() bool { return m.running().Serving() == nil })
		if !m.hasUser(49) || m.hasUser(100) {
			t.Error("alone it does not serve what the old copy has")
		}
		m.must(act{kind: "register", n: 300, name: "alone"})
		m.propose("grant", func(c *catalog.Catalog) []catalog.Draft { return c.Grant(g, bob) })
		time.Sleep(time.Minute)
		w.heal()
		w.settle()
		for i, m := range w.members {
			m.view(func(c *catalog.Catalog) {
				if c.IsMember(g, bob) {
					t.Errorf("tracker %d: the old disk brought a removed member back", i)
				}
			})
			if !m.hasUser(300) || !m.hasUser(149) {
				t.Errorf("tracker %d: accounts are missing", i)
			}
		}
	})
}

// With the others there, a tracker with an old copy serves nobody before it has
// what they have: who was removed meanwhile must not get in.
func TestOldCopyCatchesUpFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 3, 1)
		w.start()
		w.awaitReady()
		w.fill(50)
		w.settle()
		m := w.members[0]
		old := m.disk.copied()
		for i := range uint64(50) {
			w.members[1].must(act{kind: "register", n: 100 + i, name: fmt.Sprint("late-", i)})
		}
		w.settle()
		all := 0
		m.view(func(c *catalog.Catalog) { all = c.Len() })
		m.kill()
		m.disk.restore(old)
		for _, o := range w.members[1:] {
			w.net.slow(m.id, o.id, 20*time.Millisecond)
			w.net.slow(o.id, m.id, 20*time.Millisecond)
		}
		m.start()
		m.catchUp(all, nil)
	})
}

// catchUp waits until a tracker serves, and looks all the time whether it does
// so with half of the catalog. It returns early when stop says so.
func (m *member) catchUp(want int, stop func() bool) {
	m.w.t.Helper()
	for begun := time.Now(); time.Since(begun) < time.Minute; time.Sleep(time.Millisecond) {
		serving := m.running().Serving() == nil
		facts := 0
		m.view(func(c *catalog.Catalog) { facts = c.Len() })
		switch {
		case serving && facts < want:
			m.w.t.Fatalf("it serves with %d of %d facts", facts, want)
		case serving:
			return
		case stop != nil && stop():
			return
		}
	}
	m.w.t.Fatalf("it does not catch up: %v", m.running().Serving())
}

// waits checks that a tracker serves nothing, stores nothing and says what it waits for.
func (m *member) waits() {
	m.w.t.Helper()
	err := m.running().Serving()
	if protocol.CodeOf(err) != protocol.CodeBusy || !strings.Contains(err.Error(), "knows no network yet and waits for another") {
		m.w.t.Errorf("it does not say what it waits for: %v", err)
	}
	if _, err := m.do(act{kind: "register", n: 9999, name: "nobody"}); protocol.CodeOf(err) != protocol.CodeBusy {
		m.w.t.Errorf("a tracker that waits took a change: %v", err)
	}
	if !m.running().Network().IsZero() {
		m.w.t.Error("a tracker that waits is part of a network")
	}
}

func TestWipedTracker(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 3, 1)
		w.start()
		w.awaitReady()
		w.fill(4000) // more facts than one commit of catching up takes
		w.settle()
		all := 0
		w.members[1].view(func(c *catalog.Catalog) { all = c.Len() })
		m := w.members[0]
		m.kill()
		m.wipe()
		w.cut(m)
		m.start()
		time.Sleep(time.Minute)
		m.waits()
		for _, o := range w.members[1:] {
			w.net.slow(m.id, o.id, 50*time.Millisecond)
			w.net.slow(o.id, m.id, 50*time.Millisecond)
		}
		w.heal()
		m.catchUp(all, func() bool { return len(m.disk.copied()) > 0 })
		// Cut off in the middle of catching up, it waits again.
		w.cut(m)
		time.Sleep(time.Minute)
		m.waits()
		m.kill()
		m.wipe()
		m.start()
		w.heal()
		m.catchUp(all, func() bool { return len(m.disk.copied()) > 0 })
		// Killed in the middle, it does as well.
		m.kill()
		w.cut(m)
		m.start()
		time.Sleep(time.Minute)
		some := 0
		m.view(func(c *catalog.Catalog) { some = c.Len() })
		if some == 0 || some == all {
			t.Errorf("killed in the middle it has %d of %d facts", some, all)
		}
		m.waits()
		w.heal()
		m.catchUp(all, nil)
		w.settle()
	})
}

func TestAllTrackersWiped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 3, 1)
		w.start()
		w.awaitReady()
		w.fill(20)
		w.settle()
		old := w.members[2].disk.copied()
		for _, m := range w.members {
			m.kill()
			m.wipe()
		}
		w.start()
		time.Sleep(10 * time.Minute)
		for _, m := range w.members {
			m.waits()
		}
		// A copy of one disk brings all back.
		w.members[2].kill()
		w.members[2].disk.restore(old)
		w.members[2].start()
		w.awaitReady()
		w.settle()
	})
}

// Trackers that begin a network do not see each other at first.
func TestStartedBeforeTheFirstFact(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 3, 1)
		w.members[2].blank = true
		w.cut(w.members[0])
		w.cut(w.members[1])
		w.start()
		time.Sleep(time.Minute)
		w.members[2].waits()
		for _, m := range w.members[:2] {
			if err := m.running().Serving(); err != nil {
				t.Errorf("a tracker that begins the network does not serve: %v", err)
			}
		}
		// To an empty network a blank tracker belongs as soon as it meets it.
		w.net.heal(w.members[1].id, w.members[2].id)
		w.net.heal(w.members[2].id, w.members[1].id)
		w.await("the blank one serves", healTime, func() bool { return w.members[2].running().Serving() == nil })
		w.members[0].must(act{kind: "register", n: 1, name: "ada"})
		w.members[2].must(act{kind: "register", n: 2, name: "bob"})
		w.heal()
		w.settle()
		if !w.members[0].hasUser(2) || !w.members[2].hasUser(1) {
			t.Error("what was written before the trackers met is missing")
		}
	})
}

func TestAddedToALiveNetwork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 2, 1)
		w.start()
		w.awaitReady()
		w.fill(300)
		w.settle()
		all := 0
		w.members[0].view(func(c *catalog.Catalog) { all = c.Len() })
		m := w.add()
		m.blank = true
		m.start()
		time.Sleep(time.Minute) // the others do not list it yet
		m.waits()
		for _, each := range w.members {
			each.setRoster(infos(w.members))
		}
		m.catchUp(all, nil)
		w.settle()
		m.must(act{kind: "register", n: 1000, name: "new"})
		w.settle()
		// Taken off the lists again, what it has written stays.
		for _, each := range w.members[:2] {
			each.setRoster(infos(w.members[:2]))
		}
		m.kill()
		time.Sleep(time.Minute)
		if w.members[0].must(act{kind: "register", n: 1001, name: "later"}); !w.members[1].hasUser(1000) {
			t.Error("what a former tracker has written is gone")
		}
	})
}
