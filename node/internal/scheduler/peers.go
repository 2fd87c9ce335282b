package scheduler

import (
	"time"

	"github.com/bits-and-blooms/bitset"
)

// request is a piece that a peer was asked for and has not answered.
type request struct {
	piece     int
	from      *remote
	begun     bool          // its bytes are arriving
	since     time.Duration // they have begun
	reclaimed time.Duration // notYet if it was not
	cancelled time.Duration // when it was given up; notYet if it was not
}

const notYet time.Duration = -1

func (r *request) live() bool { return r.cancelled == notYet }

// waits reports whether a request has to wait for others at its peer, as far
// as is known.
func (r *request) waits() bool { return r.live() && !r.begun }

// remote is a connected peer.
type remote struct {
	id Peer
	// have is what it has; nil is everything.
	have  *bitset.BitSet
	count int // pieces that it has
	// interesting counts the pieces it has that are not done, useful those of
	// them that nobody is asked for.
	interesting, useful int

	out  []*request    // not answered, oldest first
	hold time.Duration // nothing is asked before
	pace pace
	// denied are pieces that it said it had and then did not give, oldest first.
	denied []denial
	// checking counts its pieces that are being verified; with those asked for
	// they are at most trust.
	checking, trust int
	// tried is the round of filling in which it could not be given more.
	tried uint64
}

func (p *remote) has(piece int) bool {
	return p.have == nil || p.have.Test(uint(piece))
}

// denial keeps a piece from being asked of a peer again at once.
type denial struct {
	piece int
	until time.Duration
}

// asked returns its unanswered request for a piece.
func (p *remote) asked(piece int) *request {
	for _, r := range p.out {
		if r.piece == piece {
			return r
		}
	}
	return nil
}

// full reports whether it may not be asked for more now.
func (p *remote) full() bool {
	return len(p.out) >= p.pace.window || len(p.out)+p.checking >= p.trust
}

func (s *Scheduler) joined(ev PeerJoined) {
	s.left(ev.Peer)
	if s.refused(ev.Peer) {
		return
	}
	if b := s.bans.of(ev.Peer); b != nil {
		b.offered = bitset.New(0) // it gets another chance
	}
	n := len(s.pieces.status)
	p := &remote{id: ev.Peer, count: n, pace: newPace(), trust: s.trust(ev.Peer)}
	for _, author := range s.authors { // of its last connection
		if author == p.id {
			p.checking++
		}
	}
	if !ev.Complete {
		p.have = fromWire(ev.Bits, n)
		p.count = int(p.have.Count())
	}
	s.peers = append(s.peers, p)
	s.byID[p.id] = p
	s.search.changed()
	if p.have == nil {
		s.seeders++
		p.interesting = s.pieces.left
		p.useful = len(s.pieces.order.order)
		return
	}
	for i, ok := p.have.NextSet(0); ok; i, ok = p.have.NextSet(i + 1) {
		s.pieces.order.increase(int(i))
	}
	p.interesting = int(p.have.IntersectionCardinality(s.pieces.missing))
	p.useful = int(p.have.IntersectionCardinality(s.pieces.wanted))
}

func (s *Scheduler) gained(ev PeerHas) {
	p := s.byID[ev.Peer]
	if p == nil || !s.pieces.valid(ev.Piece) || p.has(ev.Piece) {
		return
	}
	p.have.Set(uint(ev.Piece))
	s.tally(p, ev.Piece, 1)
	s.pieces.order.increase(ev.Piece)
	s.spread(p, ev.Piece)
}

// spread reclaims a request that waits elsewhere, because p has the piece now:
// always if it waits at a peer that has everything, whose time is best spent on
// what others lack; else with a chance that leaves each holder of the piece an
// equal part of those who wait for it.
func (s *Scheduler) spread(p *remote, piece int) {
	if s.pieces.status[piece] != requested || p.full() || p.hold > s.now {
		return
	}
	asked := s.flights.byPiece[piece]
	if len(asked) != 1 || !asked[0].waits() {
		return
	}
	holders := int(s.pieces.order.avail[piece])
	if r := asked[0]; r.from.have == nil || s.rng.IntN(holders) == 0 {
		s.reclaim(r)
	}
}

// lacks notes that a peer does not have a piece, whatever it said before.
func (s *Scheduler) lacks(p *remote, piece int) {
	if !p.has(piece) {
		return
	}
	if p.have == nil {
		// It said that it had everything: from now on it is counted by piece.
		n := len(s.pieces.status)
		p.have = bitset.New(uint(n)).SetAll()
		s.seeders--
		for i := range n {
			s.pieces.order.increase(i)
		}
	}
	p.have.Clear(uint(piece))
	s.tally(p, piece, -1)
	s.pieces.order.decrease(piece)
	p.denied = append(p.denied, denial{piece: piece, until: s.now + deniedFor})
}

// forgive lets pieces be asked for again that were denied a while ago: the
// fault at the other side may have been a passing one.
func (s *Scheduler) forgive() {
	for _, p := range s.peers {
		for len(p.denied) > 0 && p.denied[0].until <= s.now {
			s.gained(PeerHas{Peer: p.id, Piece: p.denied[0].piece})
			p.denied = p.denied[1:]
		}
	}
}

// tally adds a piece to what a peer has, or takes it away.
func (s *Scheduler) tally(p *remote, piece, by int) {
	p.count += by
	if s.pieces.status[piece] != done {
		p.interesting += by
	}
	if s.pieces.status[piece] == wanted {
		p.useful += by
	}
}

func (s *Scheduler) left(id Peer) {
	p := s.byID[id]
	if p == nil {
		return
	}
	delete(s.byID, id)
	for i, q := range s.peers {
		if q == p {
			s.peers = append(s.peers[:i], s.peers[i+1:]...)
			break
		}
	}
	if p.have == nil {
		s.seeders--
	} else {
		for i, ok := p.have.NextSet(0); ok; i, ok = p.have.NextSet(i + 1) {
			s.pieces.order.decrease(int(i))
		}
	}
	for len(p.out) > 0 {
		s.answered(p.out[len(p.out)-1])
	}
	s.search.changed()
}

// want makes a piece wanted again.
func (s *Scheduler) want(piece int) {
	s.pieces.status[piece] = wanted
	s.pieces.wanted.Set(uint(piece))
	s.pieces.order.add(piece)
	for _, p := range s.peers {
		if p.has(piece) {
			p.useful++
		}
	}
}

// leaveWanted takes a piece out of the wanted ones.
func (s *Scheduler) leaveWanted(piece int, to status) {
	if s.pieces.status[piece] == wanted {
		s.pieces.wanted.Clear(uint(piece))
		s.pieces.order.remove(piece)
		for _, p := range s.peers {
			if p.has(piece) {
				p.useful--
			}
		}
	}
	s.pieces.status[piece] = to
}

// finished marks a piece as done.
func (s *Scheduler) finished(piece int) {
	s.pieces.status[piece] = done
	s.pieces.missing.Clear(uint(piece))
	s.pieces.left--
	for _, p := range s.peers {
		if p.has(piece) {
			p.interesting--
		}
	}
}
