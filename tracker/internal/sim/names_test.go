package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// apart runs three trackers of which the first is cut off from the others.
func apart(t *testing.T) (w *world, left, right *member) {
	w = newWorld(t, 3, 1)
	w.start()
	w.awaitReady()
	return w, w.members[0], w.members[1]
}

// cutOff cuts the first tracker off and waits until all know.
func (w *world) cutOff() {
	w.t.Helper()
	w.cut(w.members[0])
	w.await("the cut is noticed", time.Minute, func() bool {
		return len(w.members[0].running().Connected()) == 0 && len(w.members[1].running().Connected()) == 1
	})
}

// propose makes a change that has to succeed.
func (m *member) propose(what string, build func(c *catalog.Catalog) []catalog.Draft) {
	m.w.t.Helper()
	if _, err := m.change(what, nil, func(c *catalog.Catalog) ([]catalog.Draft, error) { return build(c), nil }); err != nil {
		m.w.t.Fatalf("%s: %v", what, err)
	}
}

// Two claim one name at the two sides of a cut: a user's, a group's, a file's.
func TestOneNameOnBothSides(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, left, right := apart(t)
		left.must(act{kind: "register", n: 1, name: "ada"})
		left.must(act{kind: "create group", n: 2, name: "Films"})
		left.must(act{kind: "register", n: 3, name: "eve"})
		left.propose("grant", func(c *catalog.Catalog) []catalog.Draft { return c.Grant(groupOf(2), userOf(3)) })
		w.settle()
		w.cutOff()
		// The earlier of the two claims is made at the right for the group, at the
		// left for the others.
		left.must(act{kind: "register", n: 10, name: "bob"})
		right.must(act{kind: "create group", n: 11, name: "Music"})
		left.must(act{kind: "share", n: 12, name: "one.mkv"})
		time.Sleep(time.Second)
		right.must(act{kind: "register", n: 20, name: "bob"})
		left.must(act{kind: "create group", n: 21, name: "music"})
		right.must(act{kind: "share", n: 22, a: 1, name: "ONE.mkv"})
		for _, m := range []*member{left, right} {
			if names := w.shown(m); strings.Contains(names, "~") {
				t.Errorf("a name shows a clash during the cut: %s", names)
			}
		}
		w.heal()
		w.settle()
		for i, m := range w.members {
			m.view(func(c *catalog.Catalog) {
				holder, _ := c.UserNamed("bob")
				other, _ := c.User(userOf(20))
				if holder.ID != userOf(10) || !strings.HasPrefix(other.Name, "bob~") {
					t.Errorf("tracker %d: bob is %v, the other one is called %q", i, holder.ID, other.Name)
				}
				for n, u := range map[uint64]string{10: "bob", 20: other.Name} {
					named, ok := c.UserNamed(u)
					v, _ := c.Verifier(named.ID)
					if !ok || v.PHC != phcOf(n) {
						t.Errorf("tracker %d: %s has not the password that was set for it", i, u)
					}
				}
				music, _ := c.GroupNamed("Music")
				loser, _ := c.Group(groupOf(21))
				if music.ID != groupOf(11) || !strings.HasPrefix(loser.Name, "music~") {
					t.Errorf("tracker %d: Music is %v, the other one is called %q", i, music.ID, loser.Name)
				}
				var files []string
				for f := range c.Files(groupOf(2), "") {
					files = append(files, f.Name)
				}
				if len(files) != 2 || !slices.Contains(files, "one.mkv") || !strings.HasPrefix(files[1], "ONE.mkv~") {
					t.Errorf("tracker %d: the files are %v", i, files)
				}
			})
			if a, b := w.shown(m), w.shown(w.members[0]); a != b {
				t.Errorf("names at tracker %d: %s; at tracker 0: %s", i, a, b)
			}
		}
	})
}

func TestRemovalBeatsAllOnTheOtherSide(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, left, right := apart(t)
		ada, bob, g := userOf(1), userOf(2), groupOf(3)
		left.must(act{kind: "register", n: 1, name: "ada"})
		left.must(act{kind: "register", n: 2, name: "bob"})
		left.propose("group", func(*catalog.Catalog) []catalog.Draft { return catalog.NewGroup(g, "Films", ada) })
		left.propose("grant", func(c *catalog.Catalog) []catalog.Draft { return c.Grant(g, bob) })
		w.settle()
		w.cutOff()
		left.propose("remove", func(c *catalog.Catalog) []catalog.Draft { return c.Remove(g, bob, left.id.String()) })
		for round := range uint64(3) {
			time.Sleep(10 * time.Second) // later than the removal
			s := catalog.Session{ID: sessionOf(round), Device: "x", Since: right.now().UnixMilli(), Until: right.now().Add(protocol.SessionRenew).UnixMilli()}
			right.propose("login", func(*catalog.Catalog) []catalog.Draft { return catalog.NewSession(bob, s) })
			right.propose("logout", func(*catalog.Catalog) []catalog.Draft { return catalog.RevokeSession(s.ID, bob, s.Until) })
			right.propose("leave", func(c *catalog.Catalog) []catalog.Draft { return c.Remove(g, bob, right.id.String()) })
			right.propose("ask", func(*catalog.Catalog) []catalog.Draft { return catalog.SetRequest(g, bob, catalog.RequestOpen) })
			right.propose("accept", func(c *catalog.Catalog) []catalog.Draft {
				w.model.admit(inGroup{g, bob}, w.seen(c, inGroup{g, bob}))
				return c.Grant(g, bob)
			})
			right.view(func(c *catalog.Catalog) {
				if !c.IsMember(g, bob) {
					t.Error("bob is not back on the side that knows of no removal")
				}
			})
		}
		w.heal()
		w.settle()
		for i, m := range w.members {
			m.view(func(c *catalog.Catalog) {
				if c.IsMember(g, bob) {
					t.Errorf("tracker %d: bob is a member though he was removed", i)
				}
			})
		}
		// Who knows of the removal may let him in.
		right.propose("grant", func(c *catalog.Catalog) []catalog.Draft {
			w.model.admit(inGroup{g, bob}, w.seen(c, inGroup{g, bob}))
			return c.Grant(g, bob)
		})
		w.settle()
		left.view(func(c *catalog.Catalog) {
			if !c.IsMember(g, bob) {
				t.Error("bob is out though a grant has seen the removal")
			}
		})
	})
}
