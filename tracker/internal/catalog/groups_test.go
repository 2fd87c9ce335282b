package catalog_test

import (
	"slices"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// What becomes of user 2 in a group of user 1, whom both sides of a cut know.
// A request from the far side of a cut does not outlive the membership that
// came of another one: removal ends both.
func TestRemovalSettlesTheRequest(t *testing.T) {
	w, a, b := two(t)
	w.club(t, 2)
	g, u := gid(1), uid(3)
	a.do(a.c.Grant(g, u))
	b.do(catalog.SetRequest(g, u, catalog.RequestOpen))
	w.heal(t)
	a.do(a.c.Remove(g, u, a.id))
	w.heal(t)
	if got := b.c.Requests(g); len(got) != 0 || b.c.IsMember(g, u) {
		t.Errorf("open requests after the removal: %v, member: %v, want none", got, b.c.IsMember(g, u))
	}
}

// What was answered last on both sides is that the user is in, and the later
// answer knew of no removal: the grant that did must not be lost to it.
func TestGrantThatHasSeenMoreStays(t *testing.T) {
	w, a, b := two(t)
	w.club(t, 2)
	g, u := gid(1), uid(3)
	a.do(a.c.Grant(g, u))
	a.do(a.c.Remove(g, u, a.id))
	a.do(a.c.Grant(g, u))
	b.do(b.c.Grant(g, u))
	w.heal(t)
	if !a.c.IsMember(g, u) || !b.c.IsMember(g, u) {
		t.Error("let in last on both sides of a cut, and a member on neither")
	}
}

// A grant is here before the removal that it has seen. Whoever is let in or
// shares on top of it knows of both.
func TestWhatIsBuiltOnAGrantHasSeenWhatItHas(t *testing.T) {
	g, u := gid(1), uid(2)
	w := newWorld(t, "A", "B", "C")
	a, b, c := w.all[0], w.all[1], w.all[2]
	w.club(t, 2)
	b.do(b.c.Remove(g, u, b.id))
	grant := b.do(b.c.Grant(g, u))
	mustMerge(t, a.c, grant...)
	a.do(a.share(2, 1, "x"))
	mustMerge(t, c.c, grant...)
	mustMerge(t, c.c, a.do(a.c.Remove(g, u, a.id))...)
	if c.c.IsMember(g, u) {
		t.Fatal("the removal ends nothing, so this shows nothing")
	}
	c.do(c.c.Grant(g, u))
	if !c.c.IsMember(g, u) {
		t.Error("let in, and not a member")
	}
	c.do(c.share(2, 2, "y"))
	w.heal(t)
	if !c.c.IsMember(g, u) {
		t.Error("let in with all known, and not a member once all are told")
	}
	if c.c.IsShared(shareOf(2, 1)) || !c.c.IsShared(shareOf(2, 2)) {
		t.Errorf("shared before the last removal %v, after it %v; want false, true", c.c.IsShared(shareOf(2, 1)), c.c.IsShared(shareOf(2, 2)))
	}
}

func TestMembershipAcrossACut(t *testing.T) {
	g, u := gid(1), uid(2)
	tests := []struct {
		name string
		a, b func(*tracker)
		want bool
	}{
		{"nothing", func(*tracker) {}, func(*tracker) {}, true},
		{"removed on one side", func(x *tracker) { x.do(x.c.Remove(g, u, x.id)) }, func(*tracker) {}, false},
		{"removed here, left and accepted again there", func(x *tracker) {
			x.do(x.c.Remove(g, u, x.id))
		}, func(x *tracker) {
			x.do(x.c.Remove(g, u, x.id))
			x.do(x.c.Grant(g, u))
		}, false},
		{"removed here, left and accepted three times there", func(x *tracker) {
			x.do(x.c.Remove(g, u, x.id))
		}, func(x *tracker) {
			for range 3 {
				x.do(x.c.Remove(g, u, x.id))
				x.do(x.c.Grant(g, u))
			}
		}, false},
		{"removed and accepted again on one side", func(x *tracker) {
			x.do(x.c.Remove(g, u, x.id))
			x.do(x.c.Grant(g, u))
		}, func(*tracker) {}, true},
		{"removed and accepted again on both", func(x *tracker) {
			x.do(x.c.Remove(g, u, x.id))
			x.do(x.c.Grant(g, u))
		}, func(x *tracker) {
			x.do(x.c.Remove(g, u, x.id))
			x.do(x.c.Grant(g, u))
		}, false},
		{"removed, accepted and removed again", func(x *tracker) {
			x.do(x.c.Remove(g, u, x.id))
			x.do(x.c.Grant(g, u))
			x.do(x.c.Remove(g, u, x.id))
		}, func(*tracker) {}, false},
		{
			"granted a second time without a removal", func(x *tracker) { x.do(x.c.Remove(g, u, x.id)) },
			func(x *tracker) { x.do(x.c.Grant(g, u)) }, false,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for range 2 {
				w, a, b := two(t)
				w.club(t, 2)
				test.a(a)
				test.b(b)
				w.heal(t)
				if got := a.c.IsMember(g, u); got != test.want {
					t.Errorf("member: %v, want %v", got, test.want)
				}
				// Accepting once more, having seen everything, helps.
				b.do(b.c.Grant(g, u))
				w.heal(t)
				if !a.c.IsMember(g, u) {
					t.Error("not a member after a grant that has seen every removal")
				}
				test.a, test.b = test.b, test.a
			}
		})
	}
}

func TestOwnership(t *testing.T) {
	g := gid(1)
	tests := []struct {
		name string
		do   func(w *world, a, b *tracker)
		want protocol.UserID
	}{
		{"the creator", func(*world, *tracker, *tracker) {}, uid(1)},
		{"after a transfer", func(_ *world, a, _ *tracker) { a.do(a.c.Transfer(g, uid(3))) }, uid(3)},
		{"the longest-standing when the creator has left", func(_ *world, a, _ *tracker) {
			a.do(a.c.Remove(g, uid(1), a.id))
		}, uid(2)},
		{"the longest-standing when the creator has left and come back", func(_ *world, a, _ *tracker) {
			a.do(a.c.Remove(g, uid(1), a.id))
			a.do(a.c.Grant(g, uid(1)))
		}, uid(2)},
		{"back to the creator when the new owner has left", func(_ *world, a, _ *tracker) {
			a.do(a.c.Transfer(g, uid(3)))
			a.do(a.c.Remove(g, uid(3), a.id))
		}, uid(1)},
		{"the new owner left and came back: the transfer is void", func(_ *world, a, _ *tracker) {
			a.do(a.c.Transfer(g, uid(3)))
			a.do(a.c.Remove(g, uid(3), a.id))
			a.do(a.c.Grant(g, uid(3)))
		}, uid(1)},
		{"the later of two transfers", func(_ *world, a, b *tracker) {
			a.do(a.c.Transfer(g, uid(3)))
			b.do(b.c.Transfer(g, uid(2)))
		}, uid(2)},
		{"transferred here to one who left there", func(_ *world, a, b *tracker) {
			b.do(b.c.Remove(g, uid(3), b.id))
			a.do(a.c.Transfer(g, uid(3)))
		}, uid(1)},
		{"transferred, then the creator left", func(_ *world, a, _ *tracker) {
			a.do(a.c.Transfer(g, uid(3)))
			a.do(a.c.Remove(g, uid(1), a.id))
		}, uid(3)},
		{"a transfer to somebody who was removed before and is back", func(w *world, a, _ *tracker) {
			a.do(a.c.Remove(g, uid(3), a.id))
			a.do(a.c.Grant(g, uid(3)))
			a.do(a.c.Transfer(g, uid(3)))
		}, uid(3)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w, a, b := two(t)
			w.club(t, 3)
			test.do(w, a, b)
			w.heal(t)
			for _, tr := range w.all {
				group, ok := tr.c.Group(g)
				if !ok || group.Owner != test.want {
					t.Errorf("owner %v (%v), want %v", group.Owner, ok, test.want)
				}
				for _, m := range tr.c.Members(g) {
					if m.Owner != (m.User == test.want) {
						t.Errorf("member %v owner %v", m.User, m.Owner)
					}
				}
			}
		})
	}
}

func TestTheLastMemberLeaves(t *testing.T) {
	w, a, b := two(t)
	w.club(t, 2)
	a.do(a.share(1, 1, "x"))
	w.heal(t)
	a.do(a.c.Remove(gid(1), uid(1), a.id))
	a.do(a.c.Remove(gid(1), uid(2), a.id))
	if _, ok := a.c.Group(gid(1)); ok {
		t.Fatal("a group without members is there")
	}
	if _, ok := a.c.GroupNamed("club"); ok {
		t.Fatal("a group without members has a name")
	}
	if got := a.c.Counts(); got.Groups != 0 || got.Files != 0 {
		t.Fatalf("counts %+v, want no groups, no files", got)
	}
	// Its name is free; the other side of a cut has kept it alive.
	if a.c.ClaimHeld(catalog.NameClaims(catalog.NewGroup(gid(2), "CLUB", uid(2)))[0]) {
		t.Fatal("the name of a group that is gone is held")
	}
	a.do(catalog.NewGroup(gid(2), "CLUB", uid(2)))
	b.do(b.c.Grant(gid(1), uid(3)))
	w.heal(t)
	for _, tr := range w.all {
		old, _ := tr.c.Group(gid(1))
		young, _ := tr.c.Group(gid(2))
		if old.Name != "Club" || old.Owner != uid(3) || old.Members != 1 {
			t.Errorf("old group %+v, want Club, owned by its one member", old)
		}
		if young.Name != protocol.WithSuffix("CLUB", gid(2).String()) {
			t.Errorf("young group is shown as %q", young.Name)
		}
		if g, ok := tr.c.GroupNamed("club"); !ok || g.ID != gid(1) {
			t.Errorf("club means %v", g.ID)
		}
		if g, ok := tr.c.GroupNamed("club~02CC"); !ok || g.ID != gid(2) {
			t.Errorf("club~02CC means %v", g.ID)
		}
	}
}

func TestRequests(t *testing.T) {
	w, a, _ := two(t)
	w.club(t, 1)
	g := gid(1)
	for _, u := range []byte{4, 3, 2} {
		a.do(catalog.SetRequest(g, uid(u), catalog.RequestOpen))
	}
	want := []protocol.UserID{uid(4), uid(3), uid(2)}
	if got := a.c.Requests(g); !slices.Equal(got, want) {
		t.Fatalf("requests %v, want %v", got, want)
	}
	a.do(a.c.Grant(g, uid(4)))
	a.do(catalog.SetRequest(g, uid(3), catalog.RequestRefused))
	if got := a.c.Requests(g); !slices.Equal(got, want[2:]) {
		t.Fatalf("requests %v, want %v", got, want[2:])
	}
	for u, want := range map[byte]catalog.RequestState{
		2: catalog.RequestOpen, 3: catalog.RequestRefused, 4: catalog.RequestAccepted, 5: catalog.RequestNone,
	} {
		if got := a.c.Request(g, uid(u)); got != want {
			t.Errorf("request of %d: %v, want %v", u, got, want)
		}
	}
	if got := a.c.OpenRequestsOf(uid(2)); got != 1 {
		t.Errorf("open requests %d, want 1", got)
	}
	a.do(a.c.Remove(g, uid(1), a.id))
	a.do(a.c.Remove(g, uid(4), a.id))
	if got := a.c.OpenRequestsOf(uid(2)); got != 0 {
		t.Errorf("open requests to a group that is gone: %d, want 0", got)
	}
}

func TestWhatHasComeTrueIsNotDraftedAgain(t *testing.T) {
	w, a, _ := two(t)
	w.club(t, 2)
	g := gid(1)
	a.do(a.share(2, 1, "x"))
	tests := []struct {
		name string
		got  []catalog.Draft
	}{
		{"grant to a member", a.c.Grant(g, uid(2))},
		{"removal of a stranger", a.c.Remove(g, uid(5), a.id)},
		{"transfer to the owner", a.c.Transfer(g, uid(1))},
		{"share again", a.share(2, 1, "x")},
		{"stop what was never shared", a.c.StopShare(shareOf(1, 1))},
	}
	for _, test := range tests {
		if len(test.got) > 0 {
			t.Errorf("%s: drafts %v, want none", test.name, test.got)
		}
	}
}
