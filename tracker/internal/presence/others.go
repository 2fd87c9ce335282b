package presence

import (
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// Apply takes the whole list of another tracker. One that is older than what
// deltas have brought meanwhile is left.
func (t *Table) Apply(from string, list *pb.PresenceList) {
	if list.GetEpoch() == 0 {
		return
	}
	e := t.edit()
	defer e.done()
	s := t.others[from]
	if s == nil {
		s = &source{leases: make(map[string]*lease)}
		t.others[from] = s
	}
	s.due = time.Time{}
	if s.epoch == list.GetEpoch() && s.version > list.GetVersion() {
		return
	}
	if s.epoch != list.GetEpoch() {
		for _, l := range s.leases {
			l.opening = 0 // of a table that is no more: a lease of its next one is a new opening
		}
	}
	s.epoch, s.version, s.unsure, s.doubts = list.GetEpoch(), list.GetVersion(), false, nil
	listed := make(map[string]struct{}, len(list.GetLeases()))
	for _, l := range list.GetLeases() {
		if !l.GetGone() {
			listed[l.GetPeerId()] = struct{}{}
		}
	}
	for peer, l := range s.leases {
		if _, ok := listed[peer]; !ok {
			e.remove(l)
		}
	}
	for _, l := range list.GetLeases() {
		e.take(s, l)
	}
}

// ApplyDelta takes a change; false if it does not follow what is known of from.
// One that is known already is nothing new, and fine. A delta may have come by
// way of others, so it gives the leases of a tracker that is gone another Life,
// no more.
func (t *Table) ApplyDelta(from string, d *pb.PresenceDelta) bool {
	if d.GetEpoch() == 0 || d.GetTo() <= d.GetFrom() {
		return false
	}
	now := t.cfg.Now()
	e := t.edit()
	defer e.done()
	s := t.others[from]
	if s == nil || s.epoch != d.GetEpoch() {
		return false
	}
	before := s.version
	follows := e.follow(s, d)
	if s.version != before && !s.due.IsZero() {
		s.due = now.Add(t.cfg.Life)
	}
	return follows
}

// CatchUp takes deltas that another tracker has sent on request, in order: it is
// there. False if they do not follow what is known; the whole list is wanted then.
func (t *Table) CatchUp(from string, epoch uint64, deltas []*pb.PresenceDelta) bool {
	e := t.edit()
	defer e.done()
	s := t.others[from]
	if s == nil || epoch == 0 || s.epoch != epoch {
		return false
	}
	s.due = time.Time{}
	for _, d := range deltas {
		if d.GetEpoch() != epoch || d.GetTo() <= d.GetFrom() || !e.follow(s, d) {
			s.unsure = true
			return false
		}
	}
	return true
}

// holds reports whether there is room for what a delta may add. If there is not,
// the whole list says what there is, within the same bounds.
func (s *source) holds(d *pb.PresenceDelta) bool {
	leases, offers := len(s.leases), s.offers
	for _, l := range d.GetLeases() {
		if !l.GetGone() {
			leases++
			offers += len(l.GetOffers())
		}
	}
	return leases <= protocol.MaxLeases && offers <= protocol.MaxOffers
}

// follow takes a delta of a source, which may be known already; false if it is
// not the next one, or too much.
func (e *edit) follow(s *source, d *pb.PresenceDelta) bool {
	if s.version >= d.GetTo() {
		return true
	}
	if s.version != d.GetFrom() || !s.holds(d) {
		return false
	}
	s.version = d.GetTo()
	for _, l := range d.GetLeases() {
		e.take(s, l)
	}
	return true
}

// Known returns what of another tracker's leases is known here. Of one that
// has gone it is nothing, so that it is asked as soon as it is back, nor
// of one that differs from this one on what has ended.
func (t *Table) Known(from string) (epoch, version uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.others[from]
	if s == nil || !s.due.IsZero() || s.unsure {
		return 0, 0
	}
	return s.epoch, s.version
}

// Held returns which deltas of another tracker are wanted: those behind this
// version. Zero: its whole list.
func (t *Table) Held(from string) (epoch, version uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.others[from]
	if s == nil || s.unsure {
		return 0, 0
	}
	return s.epoch, s.version
}

// take applies a lease of another tracker. A malformed one is left out.
func (e *edit) take(s *source, l *pb.Lease) {
	known := s.leases[l.GetPeerId()]
	if !l.GetPartial() {
		delete(s.doubts, l.GetPeerId()) // that tracker has told
	}
	if l.GetGone() {
		if known != nil {
			e.remove(known)
		}
		return
	}
	next, ok := decode(l)
	if !ok {
		return
	}
	var changed []FileRef
	if l.GetPartial() {
		if known == nil {
			s.doubt(l.GetPeerId(), nil, e.t.cfg.Now().Add(e.t.cfg.Life))
			return // part of one that was left out
		}
		withdrawn, ok := decodeOffers(l.GetWithdrawn())
		if !ok {
			return
		}
		gone := refs(withdrawn, nil)
		changed = refs(next.Offers, gone)
		s.told(next.Peer, changed)
		next.Offers = replaceOffers(known.Offers, next.Offers, gone, maxOffers)
	}
	e.set(s, next, l.GetVersion(), changed)
}
