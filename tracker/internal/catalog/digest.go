package catalog

import (
	"encoding/binary"
	"iter"
	"math/bits"

	"github.com/zeebo/blake3"
)

// Digest is a set hash: the sum (mod 2^128) of a hash of each fact.
type Digest [16]byte

// Node is one node of the digest tree. Prefix holds nibbles, one a byte.
type Node struct {
	Prefix string
	Digest Digest
	Facts  int
}

// MaxDepth is the length of the longest prefix.
const MaxDepth = 6

// Root returns the node of all facts.
func (c *Catalog) Root() Node {
	return Node{Digest: c.tree.sum.digest(), Facts: c.tree.facts}
}

// Children returns the up to 16 non-empty children of a node, in order.
func (c *Catalog) Children(prefix string) []Node {
	n, place, ok := c.tree.find(prefix)
	if !ok || len(prefix) == MaxDepth {
		return nil
	}
	var sums [16]sum128
	var counts [16]int
	if n.kids != nil {
		for i, kid := range n.kids {
			if kid != nil {
				sums[i], counts[i] = kid.sum, kid.facts
			}
		}
	} else {
		for _, e := range n.bucket {
			if under(e.place, place, len(prefix)) {
				i := nibbleAt(e.place, len(prefix))
				sums[i] = sums[i].plus(e.sum)
				counts[i]++
			}
		}
	}
	var out []Node
	for i := range sums {
		if counts[i] > 0 {
			out = append(out, Node{Prefix: prefix + string(rune(i)), Digest: sums[i].digest(), Facts: counts[i]})
		}
	}
	return out
}

// FactsUnder yields the facts below a node, in no order, without expired ones.
func (c *Catalog) FactsUnder(prefix string) iter.Seq[Fact] {
	return func(yield func(Fact) bool) {
		if n, place, ok := c.tree.find(prefix); ok {
			n.each(func(e *entry) bool {
				return !under(e.place, place, len(prefix)) || yield(e.fact)
			})
		}
	}
}

// sum128 is a number modulo 2^128.
type sum128 struct{ high, low uint64 }

func (a sum128) plus(b sum128) sum128 {
	low, carry := bits.Add64(a.low, b.low, 0)
	high, _ := bits.Add64(a.high, b.high, carry)
	return sum128{high, low}
}

func (a sum128) minus(b sum128) sum128 {
	low, borrow := bits.Sub64(a.low, b.low, 0)
	high, _ := bits.Sub64(a.high, b.high, borrow)
	return sum128{high, low}
}

func (a sum128) digest() (d Digest) {
	binary.BigEndian.PutUint64(d[:8], a.high)
	binary.BigEndian.PutUint64(d[8:], a.low)
	return d
}

// sumOf hashes key, stamp and value, each behind its length where that varies.
func sumOf(f Fact) sum128 {
	b := make([]byte, 0, len(f.Key)+len(f.Value)+len(f.Stamp.Origin)+32)
	b = appendText(b, string(f.Key))
	b = binary.BigEndian.AppendUint64(b, uint64(f.Stamp.Wall))
	b = binary.BigEndian.AppendUint32(b, f.Stamp.Logical)
	b = appendText(b, f.Stamp.Origin)
	b = append(b, f.Value...)
	h := blake3.Sum256(b)
	return sum128{binary.BigEndian.Uint64(h[:8]), binary.BigEndian.Uint64(h[8:16])}
}

// placeOf returns the first MaxDepth nibbles of the hash of what the fact
// belongs to: an account, a user in a group, or else itself.
func placeOf(p parts, k Key) uint32 {
	var with string
	switch p.kind {
	case KindUser, KindVerifier, KindDisabled, KindSession, KindUserName:
		with = "u/" + p.user.String()
	case KindRequest, KindRemoved, KindGrant, KindShare:
		with = p.group.String() + "/" + p.user.String()
	case KindRevoked, KindGroupName, KindGroup, KindOwner, KindFile, KindFileName:
		with = string(k)
	}
	h := blake3.Sum256([]byte(with))
	return binary.BigEndian.Uint32(h[:4]) >> (32 - 4*MaxDepth)
}

// nibbleAt returns nibble i of a place, the first one being 0.
func nibbleAt(place uint32, i int) int { return int(place>>(4*(MaxDepth-1-i))) & 15 }

// under reports whether the first n nibbles of two places are the same.
func under(place, prefix uint32, n int) bool {
	return place>>(4*(MaxDepth-n)) == prefix>>(4*(MaxDepth-n))
}
