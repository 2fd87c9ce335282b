package scheduler

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"github.com/bits-and-blooms/bitset"
)

// status is what becomes of a piece: wanted -> requested -> verifying -> done,
// and back to wanted from every state but the last.
type status byte

const (
	wanted    status = iota // missing, and no peer is asked for it
	requested               // at least one request that was not cancelled
	verifying               // received
	done
)

// pieces is what the scheduler knows of the file's pieces.
type pieces struct {
	size, length int64
	status       []status
	order        *rarity        // of the wanted ones
	wanted       *bitset.BitSet // the same as a set
	missing      *bitset.BitSet // all that are not done
	left         int            // of those
}

func newPieces(cfg Config, rng *rand.Rand) *pieces {
	n := int((cfg.Size + cfg.PieceLength - 1) / cfg.PieceLength)
	p := &pieces{
		size:    cfg.Size,
		length:  cfg.PieceLength,
		status:  make([]status, n),
		order:   newRarity(n, rng),
		wanted:  bitset.New(uint(n)),
		missing: bitset.New(uint(n)),
	}
	var have *bitset.BitSet
	if !cfg.Complete {
		have = fromWire(cfg.Have, n)
	}
	for i := range n {
		if cfg.Complete || have.Test(uint(i)) {
			p.status[i] = done
			continue
		}
		p.left++
		p.missing.Set(uint(i))
		p.wanted.Set(uint(i))
		p.order.add(i)
	}
	return p
}

// valid reports whether there is such a piece.
func (p *pieces) valid(i int) bool { return i >= 0 && i < len(p.status) }

// bytes returns the size of a piece: the last one may be shorter.
func (p *pieces) bytes(i int) int64 {
	return min(p.length, p.size-int64(i)*p.length)
}

// fromWire turns a bitfield into a set of n bits. Missing bytes count as zero,
// bits behind the last piece are dropped.
func fromWire(field []byte, n int) *bitset.BitSet {
	words := make([]uint64, (n+63)/64)
	var last [8]byte
	for i := range words {
		b := field[min(8*i, len(field)):min(8*i+8, len(field))]
		if len(b) < 8 {
			last = [8]byte{}
			copy(last[:], b)
			b = last[:]
		}
		words[i] = bits.Reverse64(binary.BigEndian.Uint64(b))
	}
	if rest := n % 64; rest != 0 {
		words[len(words)-1] &= 1<<rest - 1
	}
	return bitset.FromWithLength(uint(n), words)
}
