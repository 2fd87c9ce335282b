package credential

import (
	"encoding/binary"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
)

// Domain separates the signatures of sessions from all others.
func (s *Session) Domain() string { return "p2pshare-session-v1" }

// Codec is the payload type of a session's envelope.
func (s *Session) Codec() []byte { return []byte("/p2pshare/session/1") }

// MarshalRecord returns the fields in order: fixed ones big-endian, strings
// behind one byte of length, times as Unix seconds.
func (s *Session) MarshalRecord() ([]byte, error) {
	b := append([]byte{}, s.Network[:]...)
	b = append(b, s.User[:]...)
	b = append(b, s.ID[:]...)
	b = appendString(b, string(s.Peer))
	b = binary.BigEndian.AppendUint32(b, s.Resets)
	b = binary.BigEndian.AppendUint32(b, s.Changes)
	b = appendStamp(b, s.Verifier)
	return appendTimes(b, s.Issued, s.Expires, s.RenewUntil), nil
}

// UnmarshalRecord accepts exactly what MarshalRecord makes.
func (s *Session) UnmarshalRecord(b []byte) error {
	d := decoder{rest: b}
	d.copy(s.Network[:])
	d.copy(s.User[:])
	d.copy(s.ID[:])
	s.Peer = peer.ID(d.string())
	s.Resets, s.Changes = d.uint32(), d.uint32()
	s.Verifier = d.stamp()
	s.Issued, s.Expires, s.RenewUntil = d.time(), d.time(), d.time()
	return d.end()
}

// Domain separates the signatures of tickets from all others.
func (t *Ticket) Domain() string { return "p2pshare-ticket-v1" }

// Codec is the payload type of a ticket's envelope.
func (t *Ticket) Codec() []byte { return []byte("/p2pshare/ticket/1") }

// MarshalRecord returns the fields in order, as for a session.
func (t *Ticket) MarshalRecord() ([]byte, error) {
	b := append([]byte{}, t.Network[:]...)
	b = append(b, t.Group[:]...)
	b = append(b, t.User[:]...)
	b = append(b, t.Session[:]...)
	b = appendString(b, string(t.Peer))
	b = appendStamp(b, t.Stamp)
	return appendTimes(b, t.Issued, t.Expires), nil
}

// UnmarshalRecord accepts exactly what MarshalRecord makes.
func (t *Ticket) UnmarshalRecord(b []byte) error {
	d := decoder{rest: b}
	d.copy(t.Network[:])
	d.copy(t.Group[:])
	d.copy(t.User[:])
	d.copy(t.Session[:])
	t.Peer = peer.ID(d.string())
	t.Stamp = d.stamp()
	t.Issued, t.Expires = d.time(), d.time()
	return d.end()
}

func appendString(b []byte, s string) []byte {
	return append(append(b, byte(len(s))), s...) // peer IDs have 38 bytes
}

func appendStamp(b []byte, s protocol.Stamp) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(s.Wall))
	b = binary.BigEndian.AppendUint32(b, s.Logical)
	return appendString(b, s.Origin)
}

func appendTimes(b []byte, times ...time.Time) []byte {
	for _, t := range times {
		b = binary.BigEndian.AppendUint64(b, uint64(t.Unix()))
	}
	return b
}

// decoder reads fields until one is missing; then failed stays set.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) next(n int) []byte {
	if len(d.rest) < n {
		d.failed, d.rest = true, nil
		return make([]byte, n)
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) copy(dst []byte) { copy(dst, d.next(len(dst))) }
func (d *decoder) string() string  { return string(d.next(int(d.next(1)[0]))) }
func (d *decoder) uint32() uint32  { return binary.BigEndian.Uint32(d.next(4)) }
func (d *decoder) time() time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(d.next(8))), 0)
}

func (d *decoder) stamp() protocol.Stamp {
	return protocol.Stamp{Wall: int64(binary.BigEndian.Uint64(d.next(8))), Logical: d.uint32(), Origin: d.string()}
}

func (d *decoder) end() error {
	if d.failed || len(d.rest) > 0 {
		return refused("the envelope does not hold what it says")
	}
	return nil
}
