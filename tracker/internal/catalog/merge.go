package catalog

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/p2pshare/p2pshare/protocol"
)

// beats reports whether f, whose value is v, takes the place of held, a fact of
// the same key. For each kind it is a total order on (value, stamp), and the
// greatest fact ever merged stays: so merging commutes, associates and may be
// repeated.
func beats(kind Kind, v value, f, held Fact) bool {
	later := cmp.Or(f.Stamp.Compare(held.Stamp), bytes.Compare(f.Value, held.Value))
	switch kind {
	case KindUser, KindUserName, KindGroupName, KindGroup, KindFile:
		return later < 0
	case KindVerifier:
		return cmp.Or(compareVerifiers(v, f.Stamp, valueOf(kind, held), held.Stamp), later) > 0
	case KindSession, KindRevoked:
		// The end is written once, at login. Were it to differ all the same, the
		// longer life must win: else a fact that some trackers have dropped as
		// expired could beat one that others still hold.
		return cmp.Or(cmp.Compare(untilOf(v), untilOf(valueOf(kind, held))), later) > 0
	case KindGrant:
		return cmp.Or(compareGrants(v, valueOf(kind, held)), later) > 0
	case KindDisabled, KindRequest, KindRemoved, KindOwner, KindShare, KindFileName:
		return later > 0
	}
	return false
}

// valueOf decodes a fact that was checked when it was merged.
func valueOf(kind Kind, f Fact) value {
	v, _ := decodeValue(kind, f.Value)
	return v
}

// compareVerifiers goes by the epoch, then by when the password was set: making
// a new hash of one password must not win over another password.
func compareVerifiers(a value, at protocol.Stamp, b value, bt protocol.Stamp) int {
	x, _ := a.(verifierValue)
	y, _ := b.(verifierValue)
	return cmp.Or(cmp.Compare(x.resets, y.resets), cmp.Compare(x.changes, y.changes), x.setAt(at).Compare(y.setAt(bt)))
}

// setAt is when the password of the verifier, whose fact has the stamp at, was set.
func (v verifierValue) setAt(at protocol.Stamp) protocol.Stamp {
	if v.set.IsZero() || v.set.After(at) { // a verifier cannot be older than its password
		return at
	}
	return v.set
}

// compareGrants goes by the removals seen, the latest first. So a grant that has
// seen all that another one has, and more, is greater, and the one that counts is
// never lost to one that does not, whichever was made later.
func compareGrants(a, b value) int {
	x, _ := a.(grantValue)
	y, _ := b.(grantValue)
	return slices.CompareFunc(latestFirst(x.seen), latestFirst(y.seen), protocol.Stamp.Compare)
}

func latestFirst(seen []protocol.Stamp) []protocol.Stamp {
	return slices.SortedFunc(slices.Values(seen), func(a, b protocol.Stamp) int { return b.Compare(a) })
}

// hasSeen reports whether seen has every one of removals, or a later one of
// the same tracker. Both are ordered by tracker.
func hasSeen(seen, removals []protocol.Stamp) bool {
	for _, r := range removals {
		for len(seen) > 0 && seen[0].Origin < r.Origin {
			seen = seen[1:]
		}
		if len(seen) == 0 || seen[0].Origin != r.Origin || r.After(seen[0]) {
			return false
		}
	}
	return true
}

// withRemoval returns the removals with that of the tracker of s replaced by s.
func withRemoval(removals []protocol.Stamp, s protocol.Stamp) []protocol.Stamp {
	out := make([]protocol.Stamp, 0, len(removals)+1)
	i := 0
	for ; i < len(removals) && removals[i].Origin < s.Origin; i++ {
		out = append(out, removals[i])
	}
	out = append(out, s)
	if i < len(removals) && removals[i].Origin == s.Origin {
		i++
	}
	return append(out, removals[i:]...)
}
