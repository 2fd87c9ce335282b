package presence_test

import (
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
)

// A logout reaches a before b, where the client is: its disk is full, say. The
// client is back at b before b has ended the old lease.
func TestLeaseThatEndedHereAlone(t *testing.T) {
	a, b := newTracker(), newTracker()
	b.Open(client("p", 1, whole(1), whole(2)))
	a.follow(t, "b", b)
	a.DropWhere(func(l presence.Lease, _ presence.Offer) bool { return l.User == protocol.UserID{1} })
	if n := a.Online(); n != 0 {
		t.Fatalf("%d online, want none", n)
	}
	b.Open(client("p", 1, whole(1)))
	for _, d := range b.spread() {
		if !a.ApplyDelta("b", d) {
			t.Fatal("a delta in order is not taken")
		}
	}
	wantEqual(t, "seeders of what it offers", peersOf(a, 1), []string{"p"})
	wantEqual(t, "seeders of what it offered until now", peersOf(a, 2), []string{"p"})
}

// What ended here counts as ended. If the tracker that has the lease says
// nothing of the kind for a while, its whole list is wanted.
func TestDoubtsEndWithTheWholeList(t *testing.T) {
	drop := func(tr *tracker, file byte) {
		tr.DropWhere(func(_ presence.Lease, o presence.Offer) bool { return o.FileRef == ref(1, file) })
	}
	wanted := func(tr *tracker) bool {
		e, _ := tr.Known("b")
		return e == 0
	}
	later := func(tr *tracker) {
		tr.clock.pass(presence.DefaultLife)
		tr.Sweep()
	}
	a, b := newTracker(), newTracker()
	b.Open(client("p", 1, whole(1), whole(2)))
	a.follow(t, "b", b)

	// b agrees.
	drop(a, 1)
	drop(b, 1)
	for _, d := range b.spread() {
		a.ApplyDelta("b", d)
	}
	later(a)
	if wanted(a) {
		t.Error("the list is wanted though both have ended the offer")
	}

	// b does not.
	drop(a, 2)
	if wanted(a) {
		t.Error("the list is wanted before b could tell")
	}
	wantEqual(t, "seeders meanwhile", peersOf(a, 2), nil)
	later(a)
	if !wanted(a) {
		t.Fatal("the list is not wanted though b goes on with the offer")
	}
	a.Apply("b", b.Local())
	wantEqual(t, "seeders as b says", peersOf(a, 2), []string{"p"})
	wantKnown(t, a, "b", b)

	// News of a lease that is not here.
	a.DropWhere(func(presence.Lease, presence.Offer) bool { return true })
	b.Announce("p", []presence.Offer{whole(3)}, nil, nil)
	for _, d := range b.spread() {
		a.ApplyDelta("b", d)
	}
	wantEqual(t, "seeders of part of a lease", peersOf(a, 3), nil)
	later(a)
	if !wanted(a) {
		t.Error("the list is not wanted though a lease is missing")
	}
}

// An offer ends here for a fact that b has not: that b tells of other offers of the
// same client leaves the doubt about this one.
func TestDoubtOutlivesNewsOfOtherOffers(t *testing.T) {
	tests := []struct {
		name string
		does func(a, b *tracker)
		want bool // the list is wanted
	}{
		{"another one withdrawn", func(_, b *tracker) { b.Announce("p", nil, []presence.FileRef{ref(1, 2)}, nil) }, true},
		{"another one begun", func(_, b *tracker) { b.Announce("p", []presence.Offer{whole(4)}, nil, nil) }, true},
		{"this one withdrawn", func(_, b *tracker) { b.Announce("p", nil, []presence.FileRef{ref(1, 1)}, nil) }, false},
		{"this one begun anew", func(_, b *tracker) { b.Announce("p", []presence.Offer{part(1)}, nil, nil) }, false},
		{"the first of two withdrawn", func(a, b *tracker) {
			a.DropWhere(func(_ presence.Lease, o presence.Offer) bool { return o.FileRef == ref(1, 3) })
			b.Announce("p", nil, []presence.FileRef{ref(1, 1)}, nil)
		}, true},
		{"both withdrawn", func(a, b *tracker) {
			a.DropWhere(func(_ presence.Lease, o presence.Offer) bool { return o.FileRef == ref(1, 3) })
			b.Announce("p", nil, []presence.FileRef{ref(1, 1), ref(1, 3)}, nil)
		}, false},
		{"all ended here, one withdrawn", func(a, b *tracker) {
			a.DropWhere(func(presence.Lease, presence.Offer) bool { return true })
			b.Announce("p", nil, []presence.FileRef{ref(1, 1)}, nil)
		}, true},
		{"the lease ended", func(_, b *tracker) {
			b.DropWhere(func(presence.Lease, presence.Offer) bool { return true })
		}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a, b := newTracker(), newTracker()
			b.Open(client("p", 1, whole(1), whole(2), whole(3)))
			a.follow(t, "b", b)
			a.DropWhere(func(_ presence.Lease, o presence.Offer) bool { return o.FileRef == ref(1, 1) })
			test.does(a, b)
			for _, d := range b.spread() {
				if !a.ApplyDelta("b", d) {
					t.Fatal("a delta in order is not taken")
				}
			}
			a.clock.pass(presence.DefaultLife)
			a.Sweep()
			if e, _ := a.Known("b"); (e == 0) != test.want {
				t.Errorf("the list is wanted: %v, want %v", e == 0, test.want)
			}
		})
	}
}
