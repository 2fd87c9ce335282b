package swarm

import (
	"math/bits"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
)

// Reason says why a download waits. Empty while it does not.
type Reason = protocol.Code

// PeerProgress is what one peer has given.
type PeerProgress struct {
	Peer   peer.ID
	User   string
	Pieces int
}

// Progress is a snapshot. It is immutable.
type Progress struct {
	Done, Total  int64 // verified bytes, bytes of the file
	Pieces, Have int
	Rate         float64       // bytes per second, over the last seconds
	Wasted       int64         // bytes fetched and thrown away
	Peers        int           // connected
	ETA          time.Duration // zero if not known
	Reason       Reason
	Message      string         // of the reason, for a person
	ByPeer       []PeerProgress // in order of pieces given
}

const (
	// rateSpan is the time over which the rate is averaged: long enough to be
	// readable, short enough to show a change. It is cut into rateSlots.
	rateSpan  = 5 * time.Second
	rateSlots = 10
	rateSlot  = rateSpan / rateSlots
)

// meter counts what was verified. It belongs to the loop.
type meter struct {
	manifest *protocol.Manifest
	done     int64
	have     int
	byPeer   []PeerProgress // in the order they first gave

	start time.Time
	// slots hold the bytes of the last rateSpan; slot is the number of the
	// current one since start.
	slots [rateSlots]int64
	slot  int64
}

// newMeter starts with what is there already.
func newMeter(f File, start time.Time) *meter {
	m := &meter{manifest: f.Manifest(), start: start}
	pieces := len(m.manifest.Pieces)
	complete, field := f.Have()
	if complete {
		m.done, m.have = m.manifest.Size, pieces
		return m
	}
	for i, b := range field {
		for ; b != 0; b &= b - 1 {
			// The lowest bit that is set is the last piece of this byte.
			if at := 8*i + 7 - bits.TrailingZeros8(b); at < pieces {
				m.have++
				m.done += m.manifest.PieceSize(at)
			}
		}
	}
	return m
}

// verified counts a piece that a peer gave.
func (m *meter) verified(p Peer, piece int, now time.Time) {
	size := m.manifest.PieceSize(piece)
	m.done += size
	m.have++
	m.turn(now)
	m.slots[m.slot%rateSlots] += size
	for i := range m.byPeer {
		if m.byPeer[i].Peer == p.ID {
			m.byPeer[i].Pieces++
			return
		}
	}
	m.byPeer = append(m.byPeer, PeerProgress{Peer: p.ID, User: p.User, Pieces: 1})
}

// turn empties the slots that time has passed over.
func (m *meter) turn(now time.Time) {
	slot := int64(now.Sub(m.start) / rateSlot)
	for m.slot < slot {
		if slot-m.slot > rateSlots {
			m.slot = slot - rateSlots
		}
		m.slot++
		m.slots[m.slot%rateSlots] = 0
	}
}

// rate returns the bytes per second of the last rateSpan, or since the start.
func (m *meter) rate(now time.Time) float64 {
	m.turn(now)
	var sum int64
	for _, b := range m.slots {
		sum += b
	}
	over := min(now.Sub(m.start), rateSpan-rateSlot+now.Sub(m.start)%rateSlot)
	return float64(sum) / max(over, rateSlot).Seconds()
}

// snapshot fills in everything but what peers and the scheduler know.
func (m *meter) snapshot(now time.Time) *Progress {
	p := &Progress{
		Done: m.done, Total: m.manifest.Size,
		Pieces: len(m.manifest.Pieces), Have: m.have,
		ByPeer: slices.Clone(m.byPeer),
	}
	if !m.start.IsZero() {
		p.Rate = m.rate(now)
	}
	if p.Rate > 0 {
		p.ETA = time.Duration(float64(p.Total-p.Done) / p.Rate * float64(time.Second))
	}
	slices.SortStableFunc(p.ByPeer, func(a, b PeerProgress) int { return b.Pieces - a.Pieces })
	return p
}
