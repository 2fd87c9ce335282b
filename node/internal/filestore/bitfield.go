package filestore

import (
	"bytes"
	"math/bits"
)

// bitfield marks pieces as the wire has it: bit 7 of byte 0 is piece 0. Bits
// behind the last piece are zero.
type bitfield []byte

func newBitfield(pieces int) bitfield { return make(bitfield, (pieces+7)/8) }

// fullBitfield has every piece.
func fullBitfield(pieces int) bitfield {
	b := newBitfield(pieces)
	for i := range pieces {
		b.set(i)
	}
	return b
}

// parseBitfield copies b if it is a bitfield of exactly so many pieces.
func parseBitfield(b []byte, pieces int) (bitfield, bool) {
	if len(b) != (pieces+7)/8 {
		return nil, false
	}
	if spare := len(b)*8 - pieces; spare > 0 && b[len(b)-1]&(1<<spare-1) != 0 {
		return nil, false
	}
	return bitfield(b).clone(), true
}

func (b bitfield) has(i int) bool { return b[i/8]&(0x80>>(i%8)) != 0 }
func (b bitfield) set(i int)      { b[i/8] |= 0x80 >> (i % 8) }
func (b bitfield) clear(i int)    { b[i/8] &^= 0x80 >> (i % 8) }

func (b bitfield) count() (n int) {
	for _, v := range b {
		n += bits.OnesCount8(v)
	}
	return n
}

// clone never returns nil: an empty file's bitfield is empty, not absent.
func (b bitfield) clone() bitfield { return append(bitfield{}, b...) }

func (b bitfield) equal(o bitfield) bool { return bytes.Equal(b, o) }

// exceeds reports whether b has a piece that o, which may be nil, has not.
func (b bitfield) exceeds(o bitfield) bool {
	for i, v := range b {
		if o != nil {
			v &^= o[i]
		}
		if v != 0 {
			return true
		}
	}
	return false
}
