package sim

import (
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// farAhead is more than any session of that time lasts, and the day for which
// what has ended is still held.
const farAhead = 40 * 24 * time.Hour

// login begins a session of user 1 that ends when those of today do, and logout ends it.
func (m *member) login(n uint64, until int64) {
	m.propose("login", func(*catalog.Catalog) []catalog.Draft {
		return catalog.NewSession(userOf(1), catalog.Session{ID: sessionOf(n), Device: "sim", Since: 1, Until: until})
	})
}

func (m *member) logout(n uint64, until int64) {
	m.propose("logout", func(*catalog.Catalog) []catalog.Draft { return catalog.RevokeSession(sessionOf(n), userOf(1), until) })
}

// knowsLogouts checks that sessions 0 to n-1 are over at a tracker, and on its disk,
// and that who was removed is out.
func (m *member) knowsLogouts(n uint64) {
	m.w.t.Helper()
	check := func(where string, c *catalog.Catalog) {
		for i := range n {
			if !c.Revoked(sessionOf(i)) {
				m.w.t.Errorf("logout %d is not %s", i, where)
			}
		}
		if c.IsMember(groupOf(1), userOf(2)) {
			m.w.t.Errorf("who was removed is a member %s", where)
		}
	}
	m.view(func(c *catalog.Catalog) { check("in the catalog", c) })
	check("on disk", m.onDisk())
}

// A tracker's clock is far ahead when it starts, and set right later. It knows all
// logouts and removals of before, and takes in those that come then.
func TestClockFarAheadEndsNothing(t *testing.T) {
	for _, test := range []struct {
		name     string
		trackers int
		alone    time.Duration // it sees no other one for so long
	}{
		{"among others", 3, 0},
		{"one of two", 2, 0},
		{"alone for a while", 3, 30 * time.Minute},
		{"alone for long", 2, 2 * time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, test.trackers, 1)
				w.start()
				w.awaitReady()
				m, other := w.members[0], w.members[1]
				until := time.Now().Add(protocol.SessionRenew).UnixMilli()
				other.must(act{kind: "register", n: 1, name: "ada"})
				other.must(act{kind: "register", n: 2, name: "bob"})
				for i := range uint64(10) {
					other.login(i, until)
				}
				for i := range uint64(5) {
					other.logout(i, until)
				}
				g, bob := groupOf(1), userOf(2)
				other.propose("group", func(*catalog.Catalog) []catalog.Draft { return catalog.NewGroup(g, "Films", userOf(1)) })
				other.propose("grant", func(c *catalog.Catalog) []catalog.Draft { return c.Grant(g, bob) })
				other.propose("remove", func(c *catalog.Catalog) []catalog.Draft { return c.Remove(g, bob, other.id.String()) })
				w.settle()
				m.kill()
				if test.alone > 0 {
					w.cut(m)
				}
				m.offset.Store(int64(farAhead))
				m.start()
				time.Sleep(test.alone)
				w.heal()
				time.Sleep(time.Minute)
				m.knowsLogouts(5)
				n := uint64(5)
				if other.running().Serving() == nil { // of two, the one ahead goes on
					other.logout(n, until)
					n++
					time.Sleep(10 * time.Second)
					m.knowsLogouts(n)
				}
				m.offset.Store(0)
				w.await("both serve", healTime, func() bool { return m.running().Serving() == nil && other.running().Serving() == nil })
				m.logout(n, until)
				n++
				m.knowsLogouts(n)
				w.settle()
				m.kill()
				m.start()
				w.awaitReady()
				w.settle()
				for _, each := range w.members {
					each.knowsLogouts(n)
				}
			})
		})
	}
}

// A tracker that runs alone while its clock is far ahead for long has let logouts
// end. Those that are still on its disk return when the clock is set right, and
// the next ones are recorded.
func TestClockFarAheadAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		m := w.members[0]
		m.start()
		w.awaitReady()
		m.must(act{kind: "register", n: 1, name: "ada"})
		until := time.Now().Add(protocol.SessionRenew).UnixMilli()
		for i := range uint64(3) {
			m.login(i, until)
		}
		m.logout(0, until)
		whole := m.root()
		m.offset.Store(int64(farAhead))
		time.Sleep(30 * time.Minute)
		if m.root() != whole {
			t.Error("a clock that was ahead since the start has ended something within half an hour")
		}
		m.offset.Store(0)
		time.Sleep(30 * time.Minute)
		m.offset.Store(int64(protocol.SessionRenew + time.Hour))
		w.await("the sessions end", time.Minute, func() bool { return m.root() != whole })
		m.offset.Store(0)
		m.logout(1, until) // before the next look at what has ended
		m.knowsLogouts(2)
		m.kill()
		m.start()
		w.awaitReady()
		m.knowsLogouts(2)
		// With time they do leave the disk.
		m.offset.Store(int64(farAhead))
		time.Sleep(time.Hour + time.Minute)
		n := 0
		for range m.onDisk().FactsUnder("") {
			n++
		}
		if n != 3 { // the account, its name and its verifier
			t.Errorf("%d facts are on disk after %v, want 3", n, farAhead)
		}
	})
}
