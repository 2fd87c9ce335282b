package scheduler

import (
	"math"
	"math/bits"
	"time"
)

const (
	// scanAhead bounds the look at the rarest pieces for one that a peer has.
	scanAhead = 4096
	// sample bounds the pieces compared when none of those is.
	sample = 2048
	// busyHold is how long a peer with a full queue is left alone.
	busyHold = time.Second
	// deniedFor is how long a piece is not asked of a peer that did not give it.
	deniedFor = 30 * time.Second
	// maxLive is how many peers may be asked for one piece at a time.
	maxLive = 2
	// maxAsked bounds those together with requests taken back but not answered:
	// the third is the way out when both peers hang.
	maxAsked = 3
	// letGo is how long a peer may take to let go of a request that waits there,
	// before it is asked of another one all the same.
	letGo = time.Second
	// enoughArriving pieces at once fill a known rate where peers are near.
	enoughArriving = 2
	// advantage is how many times sooner a second peer must be expected to
	// deliver before a piece is asked of it too.
	advantage = 2
)

// fill gives requests to peers until nothing more may be asked. Every peer gets
// one before any gets two; among equals the fastest comes first.
func (s *Scheduler) fill() {
	if s.paused != nil {
		return
	}
	s.round++
	s.flights.refused = false
	if s.sated() {
		s.yield()
		return
	}
	for {
		var next *remote
		useful := false
		for _, p := range s.peers {
			if p.tried == s.round || p.hold > s.now || p.interesting == 0 || p.full() {
				continue
			}
			useful = useful || p.useful > 0
			if next == nil || len(p.out) < len(next.out) ||
				len(p.out) == len(next.out) && p.pace.rate > next.pace.rate {
				next = p
			}
		}
		if next == nil {
			return
		}
		if !s.flights.allows(s.pieces.length) {
			// Looking for a piece costs more than finding out that none may be
			// asked for; only the last one is shorter.
			s.flights.refused = useful
			return
		}
		if !s.serve(next) {
			next.tried = s.round
		}
	}
}

// sated reports whether what arrives already takes all of the known rate. A
// piece counts only for as long as it may take if that is so.
func (s *Scheduler) sated() bool {
	if s.rate == 0 {
		return false
	}
	enough := s.enough()
	// With twice the time for others beside these, so that slow peers never keep
	// fast ones away.
	plenty := time.Duration(2 * float64(enough) * float64(s.pieces.length) / s.rate * float64(time.Second))
	n := 0
	for _, p := range s.peers {
		for _, r := range p.out {
			if r.begun && s.now-r.since < plenty {
				n++
			}
		}
	}
	return n >= enough
}

// enough is how many pieces at once fill the known rate: when one of them is
// there, the others, half received, must last until the nearest peer answers.
func (s *Scheduler) enough() int {
	nearest := time.Duration(math.MaxInt64)
	for _, p := range s.peers {
		if p.pace.rtt > 0 {
			nearest = min(nearest, p.pace.rtt)
		}
	}
	if nearest == math.MaxInt64 {
		return enoughArriving
	}
	inBetween := s.rate * nearest.Seconds() / float64(s.pieces.length)
	return max(enoughArriving, 1+int(math.Ceil(2*min(inBetween, maxWindow))))
}

// yield takes back what waits: those servers may as well send to others.
func (s *Scheduler) yield() {
	for _, p := range s.peers {
		for _, r := range p.out {
			if r.waits() {
				s.reclaim(r)
			}
		}
	}
}

// serve asks one piece of a peer: one that nobody is asked for, or else one
// that another peer is expected to deliver much later.
func (s *Scheduler) serve(p *remote) bool {
	if piece, ok := s.rarest(p); ok {
		if s.sole(piece) && len(p.out) >= p.pace.small() || !s.afford(piece) {
			return false
		}
		s.ask(p, piece)
		return true
	}
	r := s.late(p)
	if r == nil || !s.afford(r.piece) {
		return false
	}
	switch {
	case r.waits() && r.reclaimed == notYet:
		r.from.pace.slowed(s.now, s.pieces.length)
		s.reclaim(r)
		return false // asked when the other one has let go of it
	case r.waits() || s.flights.live(r.piece) == maxLive:
		r.from.pace.slowed(s.now, s.pieces.length)
		s.cancel(r)
	}
	s.ask(p, r.piece)
	return true
}

// afford reports whether the budget has room for a piece, and notes if not.
func (s *Scheduler) afford(piece int) bool {
	if s.flights.allows(s.pieces.bytes(piece)) {
		return true
	}
	s.flights.refused = true
	return false
}

// sole reports whether one peer alone has a piece while others, which lack
// pieces, may get it soon.
func (s *Scheduler) sole(piece int) bool {
	return int(s.pieces.order.avail[piece])+s.seeders == 1 && s.lacking() > 0
}

// lacking counts connected peers that do not have everything.
func (s *Scheduler) lacking() int {
	n := 0
	for _, p := range s.peers {
		if p.count < len(s.pieces.status) {
			n++
		}
	}
	return n
}

// rarest returns the wanted piece that the fewest connected peers have, among
// those that p has. It looks through the beginning of the order; if that is
// all unknown to p, it compares a sample of what p has, so that the cost stays
// bounded whatever p lacks.
func (s *Scheduler) rarest(p *remote) (int, bool) {
	if p.useful == 0 {
		return 0, false
	}
	order := s.pieces.order.order
	for _, i := range order[:min(len(order), scanAhead)] {
		if s.mayAsk(p, int(i)) {
			return int(i), true
		}
	}
	if len(order) <= scanAhead || p.have == nil {
		return 0, false
	}
	return s.sampled(p)
}

func (s *Scheduler) sampled(p *remote) (int, bool) {
	best, seen := -1, 0
	has, want := p.have.Words(), s.pieces.wanted.Words()
	start := s.rng.IntN(len(has))
	for k := range has {
		at := (start + k) % len(has)
		for word := has[at] & want[at]; word != 0; word &= word - 1 {
			i := at*64 + bits.TrailingZeros64(word)
			if p.asked(i) != nil {
				continue
			}
			if best < 0 || s.pieces.order.avail[i] < s.pieces.order.avail[best] {
				best = i
			}
			if seen++; seen == sample {
				return best, true
			}
		}
	}
	return best, best >= 0
}

// mayAsk reports whether a peer has a piece and owes no answer about it.
func (s *Scheduler) mayAsk(p *remote, piece int) bool {
	return p.has(piece) && (len(s.flights.byPiece[piece]) == 0 || p.asked(piece) == nil)
}

// endgame reports whether every missing piece is being asked for or verified.
func (s *Scheduler) endgame() bool { return len(s.pieces.order.order) == 0 }

// leaving reports whether the answer to a reclaimed request may still come soon.
func (s *Scheduler) leaving(r *request) bool {
	return r.reclaimed != notYet && s.now-r.reclaimed < letGo
}

// late returns the request of another peer that p should take over, or share:
// the one expected last, if p is expected to be much sooner. A request that
// waits behind others at its peer moves; one that is probably being sent is
// asked for a second time, in the endgame, of a peer that has nothing to do.
func (s *Scheduler) late(p *remote) *request {
	if len(p.out) >= minWindow {
		return nil
	}
	length := s.pieces.length
	limit := advantage * time.Duration(len(p.out)+1) * p.pace.perPiece(length)
	if len(p.out) > 0 {
		limit = max(limit, advantage*p.pace.remaining(s.now, len(p.out), length))
	}
	share := len(p.out) == 0 && s.endgame()
	var latest *request
	for _, q := range s.peers {
		if q == p {
			continue
		}
		for before, r := range q.out {
			if !r.live() || r.begun && !share || !p.has(r.piece) || p.asked(r.piece) != nil || s.leaving(r) {
				continue
			}
			expected := q.pace.remaining(s.now, before, length)
			if expected > limit && s.free(r, share, limit) {
				latest, limit = r, expected
			}
		}
	}
	return latest
}

// free reports whether a request may be taken over. Where two peers are asked
// already, both must be later than limit; then the one that is given up is r.
func (s *Scheduler) free(r *request, share bool, limit time.Duration) bool {
	all := s.flights.byPiece[r.piece]
	if len(all) >= maxAsked || len(all) > 1 && !share {
		return false
	}
	for _, other := range all {
		if other != r && other.live() && s.expected(other) <= limit {
			return false
		}
	}
	return true
}

func (s *Scheduler) expected(r *request) time.Duration {
	for before, q := range r.from.out {
		if q == r {
			return r.from.pace.remaining(s.now, before, s.pieces.length)
		}
	}
	return 0
}
