package catalog

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/p2pshare/p2pshare/protocol"
)

// Values are fields one behind the other: numbers as the shortest unsigned
// varint, texts behind their length, ids and hashes bare, flags as one byte.
// Each value has exactly one encoding, so that equal facts have equal digests.

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendFlag(b []byte, on bool) []byte {
	if on {
		return append(b, 1)
	}
	return append(b, 0)
}

// appendStamp writes a zero stamp as one zero byte: no valid stamp has that wall time.
func appendStamp(b []byte, s protocol.Stamp) []byte {
	if s.IsZero() {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(s.Wall))
	b = binary.AppendUvarint(b, uint64(s.Logical))
	return appendText(b, s.Origin)
}

func appendStamps(b []byte, list []protocol.Stamp) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendStamp(b, s)
	}
	return b
}

// decoder reads fields until one is wrong; then failed stays set and all
// further fields are zero.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) fail() { d.failed, d.rest = true, nil }

func (d *decoder) number(limit uint64) uint64 {
	v, n := binary.Uvarint(d.rest)
	// A last byte of zero behind others is a longer spelling of the same number.
	if n <= 0 || n > 1 && d.rest[n-1] == 0 || v > limit {
		d.fail()
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	if uint64(len(d.rest)) < n {
		d.fail()
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) copy(dst []byte) { copy(dst, d.bytes(uint64(len(dst)))) }

func (d *decoder) text(limit uint64) string { return string(d.bytes(d.number(limit))) }

func (d *decoder) flag() bool { return d.number(1) == 1 }

func (d *decoder) time() int64 { return int64(d.number(math.MaxInt64)) }

func (d *decoder) stamp() protocol.Stamp {
	wall := d.time()
	if wall == 0 {
		return protocol.Stamp{}
	}
	s := protocol.Stamp{Wall: wall, Logical: uint32(d.number(math.MaxUint32)), Origin: d.text(maxPeer)}
	d.require(isPeer(s.Origin))
	return s
}

// stamps reads a list in which each tracker stands at most once, in order.
func (d *decoder) stamps() []protocol.Stamp {
	n := d.number(protocol.MaxElements)
	var list []protocol.Stamp
	for range n {
		s := d.stamp()
		d.require(!s.IsZero())
		if d.failed {
			return nil
		}
		list = append(list, s)
	}
	d.require(slices.IsSortedFunc(list, byOrigin) && !hasTwins(list))
	return list
}

func byOrigin(a, b protocol.Stamp) int { return strings.Compare(a.Origin, b.Origin) }

func hasTwins(sorted []protocol.Stamp) bool {
	for i := 1; i < len(sorted); i++ {
		if sorted[i].Origin == sorted[i-1].Origin {
			return true
		}
	}
	return false
}

func (d *decoder) require(ok bool) {
	if !ok {
		d.fail()
	}
}

// more reports whether fields follow: those that came later to a kind stand at
// the end, and are left out where they say nothing.
func (d *decoder) more() bool { return len(d.rest) > 0 }

func (d *decoder) done() bool { return !d.failed && len(d.rest) == 0 }
