package piece

import (
	"sync"

	"github.com/bits-and-blooms/bitset"

	"github.com/p2pshare/p2pshare/protocol/pb"
)

// news is what one leecher may ask for, and what of it the leecher has not
// been told yet: a bit for each piece, however slowly it reads. It is safe for
// concurrent use.
type news struct {
	wake func()

	mu      sync.Mutex
	pieces  int
	all     bool
	have    *bitset.BitSet // nil while all is set
	pending *bitset.BitSet // had, and not told
	begun   bool           // the bitfield is made
}

func newNews(pieces int, wake func()) *news {
	return &news{wake: wake, pieces: pieces, have: bitset.New(0), pending: bitset.New(0)}
}

// begin takes what there is at first and returns the message that tells it.
// Pieces that add told of before are in it.
func (n *news) begin(complete bool, bits []byte) *pb.Bitfield {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.begun = true
	if complete {
		n.all, n.have = true, nil
		return &pb.Bitfield{Complete: true}
	}
	for i := range n.pieces {
		if i/8 < len(bits) && bits[i/8]&(0x80>>(i%8)) != 0 {
			n.have.Set(uint(i))
		}
	}
	told := make([]byte, (n.pieces+7)/8)
	for i := range n.have.EachSet() {
		told[i/8] |= 0x80 >> (i % 8)
	}
	return &pb.Bitfield{Bits: told}
}

// add tells of one more piece.
func (n *news) add(piece int) {
	n.mu.Lock()
	if piece < 0 || piece >= n.pieces || n.all || n.have.Test(uint(piece)) {
		n.mu.Unlock()
		return
	}
	n.have.Set(uint(piece))
	if n.begun {
		n.pending.Set(uint(piece))
	}
	n.mu.Unlock()
	n.wake()
}

func (n *news) has(piece int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all || n.have.Test(uint(piece))
}

// take returns up to limit pieces that the leecher has not been told of.
func (n *news) take(limit int) (pieces []int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, ok := n.pending.NextSet(0); ok && len(pieces) < limit; i, ok = n.pending.NextSet(i + 1) {
		n.pending.Clear(i)
		pieces = append(pieces, int(i))
	}
	return pieces
}
