package presence

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
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
		next := replaceOffers(now, added, withdrawn)
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

// A full list takes what it has, and what there is room for.
func TestReplaceOffersIsBounded(t *testing.T) {
	ref := func(i int) FileRef { return FileRef{File: protocol.FileID{byte(i >> 16), byte(i >> 8), byte(i)}} }
	var all []Offer
	for i := range maxOffers + 5 {
		all = append(all, Offer{FileRef: ref(i)})
	}
	full := replaceOffers(nil, all, nil)
	if len(full) != maxOffers {
		t.Fatalf("%d offers", len(full))
	}
	next := replaceOffers(full, []Offer{{ref(7), true}, {ref(maxOffers + 9), true}, {ref(maxOffers + 8), true}}, []FileRef{ref(3)})
	if o, ok := offerOf(next, ref(7)); len(next) != maxOffers || !ok || !o.Complete {
		t.Errorf("%d offers, %v", len(next), o)
	}
}
