package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// must does an act that has to succeed.
func (m *member) must(x act) {
	m.w.t.Helper()
	if _, err := m.do(x); err != nil {
		m.w.t.Fatalf("%s: %v", x.kind, err)
	}
}

// view runs f on the catalog of a tracker that runs.
func (m *member) view(f func(*catalog.Catalog)) { m.running().View(f) }

func (m *member) hasUser(n uint64) (ok bool) {
	m.view(func(c *catalog.Catalog) { _, ok = c.User(userOf(n)) })
	return ok
}

// settle waits until all are equal and nothing that was answered is missing.
func (w *world) settle() time.Duration {
	w.t.Helper()
	took := w.await("all equal", healTime, func() bool { return w.equal() && w.lacking() == "" })
	for i, m := range w.members {
		m.view(func(c *catalog.Catalog) {
			for _, wrong := range w.model.check(c) {
				w.t.Errorf("tracker %d: %s", i, wrong)
			}
		})
	}
	return took
}

func TestLongCutHeals(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 3, 1)
		w.start()
		w.awaitReady()
		w.cut(w.members[0])
		time.Sleep(time.Minute) // until both sides know
		for i := range uint64(500) {
			w.members[0].must(act{kind: "register", n: i, name: fmt.Sprint("left", i)})
			w.members[1+i%2].must(act{kind: "register", n: 1000 + i, name: fmt.Sprint("right", i)})
			time.Sleep(time.Second)
		}
		time.Sleep(40 * time.Second)
		w.heal()
		took := w.settle()
		if n := w.model.count(); n != 1000 {
			t.Errorf("%d changes were answered, want 1000", n)
		}
		t.Logf("equal %v after a cut of 10 minutes with 500 changes on each side", took)
	})
}

func TestClockThatIsOff(t *testing.T) {
	for _, off := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		t.Run(off.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, 3, 1)
				w.start()
				w.awaitReady()
				w.fill(30)
				w.settle()
				m := w.members[0]
				m.offset.Store(int64(off))
				w.await("it refuses, and says why", healTime, func() bool {
					err := m.running().Serving()
					return protocol.CodeOf(err) == protocol.CodeBusy && strings.Contains(err.Error(), "clock is 10m0s off")
				})
				if _, err := m.do(act{kind: "register", n: 100, name: "off"}); protocol.CodeOf(err) != protocol.CodeBusy {
					t.Errorf("a change at the tracker whose clock is off: %v", err)
				}
				for i := range uint64(20) {
					s, err := w.members[1+i%2].do(act{kind: "register", n: 200 + i, name: fmt.Sprint("on-", i)})
					if err != nil || s.On < 2 {
						t.Errorf("a change at the others: stored on %d, %v", s.On, err)
					}
				}
				// A restart changes nothing about that, whatever its disk holds.
				m.kill()
				m.start()
				time.Sleep(time.Minute)
				if m.running().Serving() == nil {
					t.Error("restarted, it serves though its clock is off")
				}
				// A client shows it the stamp that it was told here.
				m.running().Observe(m.running().Now())
				m.offset.Store(0)
				w.settle()
				if s, err := m.do(act{kind: "register", n: 100, name: "off"}); err != nil || s.On != 2 {
					t.Errorf("a change once the clock is right: stored on %d, %v", s.On, err)
				}
				w.settle()
			})
		})
	}
}

// A tracker's clock was ahead, is set right, and the tracker is restarted: what it
// has answered stays, and so does what is changed about it then.
func TestClockSetRightTakesNothingBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		m := w.members[0]
		m.offset.Store(int64(24 * time.Hour))
		m.start()
		w.awaitReady()
		m.must(act{kind: "register", n: 1, name: "ada"})
		m.propose("disable", func(*catalog.Catalog) []catalog.Draft { return catalog.SetDisabled(userOf(1), true) })
		for range 2 {
			m.kill()
			m.offset.Store(0)
			m.start()
			w.awaitReady()
			if _, err := m.do(act{kind: "register", n: 2, name: "ada"}); protocol.CodeOf(err) != protocol.CodeExists {
				t.Errorf("a name that somebody has: %v, want E_EXISTS", err)
			}
			m.view(func(c *catalog.Catalog) {
				if u, ok := c.User(userOf(1)); !ok || !u.Disabled {
					t.Errorf("the account is %+v, %v, want it disabled", u, ok)
				}
			})
		}
		// A change of the same key at the right time comes behind the one before, and
		// is there after another restart.
		m.propose("enable", func(*catalog.Catalog) []catalog.Draft { return catalog.SetDisabled(userOf(1), false) })
		m.kill()
		m.start()
		w.awaitReady()
		m.view(func(c *catalog.Catalog) {
			if u, ok := c.User(userOf(1)); !ok || u.Disabled {
				t.Errorf("the account is %+v, %v, want it enabled", u, ok)
			}
		})
	})
}

// A tracker is told of a fact from the future to its clock. When its time has
// come, the disk is full for a while, and the other tracker gone.
func TestWaitingFactsSurviveAFullDisk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 2, 1)
		w.start()
		w.awaitReady()
		m, ahead := w.members[0], w.members[1]
		w.cut(m)
		w.await("the cut is noticed", time.Minute, func() bool { return len(ahead.running().Connected()) == 0 })
		ahead.offset.Store(int64(10 * time.Minute))
		ahead.must(act{kind: "register", n: 1})
		ahead.offset.Store(0)
		w.heal()
		w.awaitReady()
		time.Sleep(10 * time.Second)
		ahead.kill()
		if m.hasUser(1) {
			t.Fatal("a fact from the future is in the catalog")
		}
		m.disk.setFull(true)
		if _, err := m.do(act{kind: "register", n: 2, a: 2}); err == nil {
			t.Fatal("a full disk took a change")
		}
		time.Sleep(11 * time.Minute)
		m.disk.setFull(false)
		w.await("the fact is there", healTime, func() bool { return m.hasUser(1) })
	})
}
