package presence

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// Offers are replaced as one by one in a map, and the old list stays as it was.
func TestReplaceOffers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	ref := func() FileRef { return FileRef{File: protocol.FileID{byte(rng.IntN(12))}} }
	some := func() (out []Offer) {
		for range rng.IntN(6) {
			out = append(out, Offer{ref(), rng.IntN(2) == 0})
		}
		return out
	}
	var now []Offer
	for range 5_000 {
		added, withdrawn := some(), refs(some(), nil)
		before := slices.Clone(now)
		want := map[FileRef]bool{}
		for _, o := range now {
			want[o.FileRef] = o.Complete
		}
		for _, f := range withdrawn {
			delete(want, f)
		}
		for _, o := range added {
			want[o.FileRef] = o.Complete
		}
		next := replaceOffers(now, added, withdrawn, maxOffers)
		if !slices.Equal(now, before) {
			t.Fatalf("%v became %v", before, now)
		}
		if len(next) != len(want) || !slices.IsSortedFunc(next, func(a, b Offer) int { return a.compare(b.FileRef) }) {
			t.Fatalf("%v and %v without %v: %v", now, added, withdrawn, next)
		}
		for _, o := range next {
			if c, ok := want[o.FileRef]; !ok || c != o.Complete {
				t.Fatalf("%v and %v without %v: %v", now, added, withdrawn, next)
			}
		}
		offers, gone := change(now, next)
		if changed := refs(added, withdrawn); !slices.Equal(among(next, refs(offers, nil)), offers) ||
			len(among(now, changed)) > len(changed) || !slices.Equal(among(now, refs(gone, nil)), gone) {
			t.Fatalf("among %v and %v: %v, %v", now, next, offers, gone)
		}
		now = next
	}
}

// What is withdrawn makes room for what comes with it, whichever stands first, here
// and at a tracker that is told of it in parts.
func TestWithdrawnOffersMakeRoom(t *testing.T) {
	const n = 2 * offersInPart
	ref := func(i int) FileRef { return FileRef{File: protocol.FileID{byte(i >> 16), byte(i >> 8), byte(i)}} }
	list := func(from, to int) (out []Offer) {
		for i := range to - from {
			out = append(out, Offer{FileRef: ref(from + i)})
		}
		return out
	}
	for _, from := range []int{0, n + maxOffers} { // before all that is offered, and behind it
		a, b := New(Config{}), (*Table)(nil)
		b = New(Config{OnDelta: func(d *pb.PresenceDelta) {
			if !a.ApplyDelta("b", d) {
				t.Error("a delta in order is not taken")
			}
		}})
		a.Apply("b", b.Local())
		b.Open(Lease{Peer: "p", Offers: list(n, n+maxOffers)})
		leaves := []FileRef{ref(1)} // of what it does not offer
		leaves = append(leaves, refs(list(n+100, n+100+n), nil)...)
		leaves = append(leaves, ref(n+100), ref(from)) // one twice, one that comes
		b.Announce("p", list(from, from+n+1), leaves, nil)
		for who, tr := range map[string]*Table{"its tracker": b, "the other": a} {
			offers := tr.latest("p").Offers
			if len(offers) != maxOffers || len(among(offers, refs(list(from, from+n), nil))) != n {
				t.Errorf("from %d: at %s %d offers, %d of %d new ones", from, who, len(offers), len(among(offers, refs(list(from, from+n), nil))), n)
			}
		}
	}
}

// A full list takes what it has, and what there is room for.
func TestReplaceOffersIsBounded(t *testing.T) {
	ref := func(i int) FileRef { return FileRef{File: protocol.FileID{byte(i >> 16), byte(i >> 8), byte(i)}} }
	var all []Offer
	for i := range maxOffers + 5 {
		all = append(all, Offer{FileRef: ref(i)})
	}
	full := replaceOffers(nil, all, nil, maxOffers)
	if len(full) != maxOffers {
		t.Fatalf("%d offers", len(full))
	}
	next := replaceOffers(full, []Offer{{ref(7), true}, {ref(maxOffers + 9), true}, {ref(maxOffers + 8), true}}, []FileRef{ref(3)}, maxOffers)
	if o, ok := offerOf(next, ref(7)); len(next) != maxOffers || !ok || !o.Complete {
		t.Errorf("%d offers, %v", len(next), o)
	}
}

// All offers of a tracker's clients are no more than another one takes, of its
// list and of the deltas.
func TestOffersOfATrackerAreBounded(t *testing.T) {
	if mostOffers+deltaBytes/48 > protocol.MaxOffers {
		t.Errorf("%d own offers and those of one delta are more than %d", mostOffers, protocol.MaxOffers)
	}
	ref := func(i int) FileRef { return FileRef{File: protocol.FileID{byte(i >> 16), byte(i >> 8), byte(i)}} }
	a, b := New(Config{}), (*Table)(nil)
	b = New(Config{OnDelta: func(d *pb.PresenceDelta) {
		if !a.ApplyDelta("b", d) {
			t.Error("a delta in order is not taken")
		}
	}})
	a.Apply("b", b.Local())
	const before = 5
	b.own.offers = mostOffers - before // as if others offered so much
	b.Open(Lease{Peer: "p"})
	var many []Offer
	for i := range 2 * before {
		many = append(many, Offer{FileRef: ref(i)})
	}
	b.Announce("p", many, nil, nil)
	if n := len(b.latest("p").Offers); n != before || b.own.offers != mostOffers {
		t.Errorf("%d offers, %d in all, want %d and %d", n, b.own.offers, before, mostOffers)
	}
	// The one that moves here has no room for what it offered there.
	a.Open(Lease{Peer: "q"})
	a.Announce("q", many, nil, nil)
	b.Apply("a", a.Local())
	b.Open(Lease{Peer: "q"})
	if n := len(b.own.leases["q"].Offers); n != 0 || b.own.offers != mostOffers {
		t.Errorf("%d offers taken over, %d in all", n, b.own.offers)
	}
	// What is withdrawn counts no more, nor does what has ended.
	b.Announce("p", nil, refs(many, nil), nil)
	b.Announce("q", many[:before], nil, nil)
	b.DropWhere(func(l Lease, _ Offer) bool { return l.Peer == "q" })
	if b.own.offers != mostOffers-before {
		t.Errorf("%d offers in all, want %d", b.own.offers, mostOffers-before)
	}
	if s := a.others["b"]; s.offers != 0 {
		t.Errorf("%d offers counted of none at the other tracker", s.offers)
	}
}
