// Package scheduler decides which piece of a file to ask of which peer. It is
// pure: events in, effects out, with time and the seed of all random choices as
// arguments. A swarm owns one for each download and is its only caller; the
// scheduler knows no network, disk, clock, lock or goroutine. DESIGN.md beside
// it tells the rules and their reasons.
package scheduler

import (
	"math/rand/v2"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

// Config describes a download.
type Config struct {
	Size        int64
	PieceLength int64
	// Complete, or Have as on the wire, tells the pieces that are there already.
	Complete bool
	Have     []byte
	// Budget is the bytes that may be in flight until a Budget event.
	Budget int64
	// Rate is the bytes per second that may arrive, over all peers and downloads;
	// 0 if there is no such limit.
	Rate int64
	// Seed makes the random choices: the same seed and events give the same effects.
	Seed uint64
	// Offences are those of earlier runs that still count.
	Offences []Offence
}

// Scheduler is the state of one download. It belongs to one goroutine.
type Scheduler struct {
	now     time.Duration
	rng     *rand.Rand
	pieces  *pieces
	peers   []*remote // in the order they joined
	byID    map[Peer]*remote
	seeders int // peers that have everything
	flights flights
	rate    float64 // bytes per second that may arrive; 0 if not known
	// authors names who delivered a piece that is being verified.
	authors map[int]Peer
	bans    bans
	search  search
	paused  *Paused
	round   uint64 // of filling
	effects []Effect
	over    bool
}

// New returns a scheduler that has seen no event.
func New(cfg Config) *Scheduler {
	rng := rand.New(rand.NewPCG(cfg.Seed, 0x7032707368617265))
	return &Scheduler{
		rate:    float64(cfg.Rate),
		rng:     rng,
		pieces:  newPieces(cfg, rng),
		byID:    make(map[Peer]*remote),
		flights: flights{budget: cfg.Budget, byPiece: make(map[int][]*request)},
		authors: make(map[int]Peer),
		search:  newSearch(),
		bans:    newBans(cfg.Offences),
	}
}

// Step tells what happened, and when since the beginning of the download, and
// returns what to do, in that order. The result is valid until the next Step.
// After Finish or Fail there are no effects any more.
func (s *Scheduler) Step(at time.Duration, ev Event) []Effect {
	s.effects = s.effects[:0]
	if s.over {
		return nil
	}
	s.now = max(s.now, at)
	switch ev := ev.(type) {
	case PeerJoined:
		s.joined(ev)
	case PeerHas:
		s.gained(ev)
	case PeerLeft:
		s.left(ev.Peer)
	case PieceBegun:
		s.begun(ev)
	case PieceReceived:
		s.received(ev)
	case FetchFailed:
		s.failed(ev)
	case PieceVerified:
		s.verified(ev.Piece)
	case PieceCorrupt:
		s.corrupt(ev.Piece)
	case PieceInconsistent:
		s.inconsistent(ev.Piece)
	case PieceUnsaved:
		s.unsaved(ev.Piece)
	case Tick:
		s.tick()
	case Paused:
		s.pause(ev)
	case Resumed:
		s.resume()
	case Budget:
		s.flights.budget = ev.Bytes
	case Candidates:
		s.search.candidates = ev.Count
	}
	if s.over {
		return s.effects
	}
	if s.pieces.left == 0 {
		s.end(Finish{})
		return s.effects
	}
	s.fill()
	return s.effects
}

func (s *Scheduler) emit(e Effect) { s.effects = append(s.effects, e) }

// end emits the last effect.
func (s *Scheduler) end(e Effect) {
	s.emit(e)
	s.over = true
}

func (s *Scheduler) begun(ev PieceBegun) {
	if p := s.byID[ev.Peer]; p != nil {
		if r := p.asked(ev.Piece); r != nil {
			r.begun, r.since = true, s.now
		}
	}
}

func (s *Scheduler) received(ev PieceReceived) {
	if !s.pieces.valid(ev.Piece) {
		return
	}
	size := s.pieces.bytes(ev.Piece)
	p := s.byID[ev.Peer]
	var r *request
	if p != nil {
		r = p.asked(ev.Piece)
	}
	if r == nil {
		// Of a peer that was banned or left while this was on its way.
		s.flights.wasted += size
		return
	}
	p.pace.rtt = ev.RTT
	p.pace.arrived(s.now, size, s.pieces.length, len(p.out) == 1)
	switch s.pieces.status[ev.Piece] {
	case verifying, done:
		s.answered(r)
		s.flights.wasted += size
	case wanted, requested:
		s.leaveWanted(ev.Piece, verifying)
		s.answered(r)
		s.authors[ev.Piece] = p.id
		p.checking++
		s.flights.bytes += size // the buffer stays until the verdict
		for _, other := range s.flights.byPiece[ev.Piece] {
			if other.live() {
				s.cancel(other)
			}
		}
		s.emit(Verify{Peer: p.id, Piece: ev.Piece})
	}
}

func (s *Scheduler) failed(ev FetchFailed) {
	p := s.byID[ev.Peer]
	if p == nil {
		return
	}
	r := p.asked(ev.Piece)
	if r == nil {
		return
	}
	refused := r.live() && r.reclaimed == notYet
	s.answered(r)
	switch {
	case ev.Code == protocol.CodeBusy:
		p.pace.window = max(minWindow, p.pace.window/2)
		p.hold = s.now + busyHold
	case ev.Code != "" || refused:
		// Who gives up a request that nobody took back is not asked for that
		// piece again at once, or the two would go on like that.
		s.lacks(p, ev.Piece)
	}
}

// verdict ends the verification of a piece and returns who delivered it.
func (s *Scheduler) verdict(piece int) (author Peer, ok bool) {
	author, ok = s.authors[piece]
	if ok {
		delete(s.authors, piece)
		if p := s.byID[author]; p != nil {
			p.checking--
		}
		s.flights.bytes -= s.pieces.bytes(piece)
	}
	return author, ok
}

func (s *Scheduler) verified(piece int) {
	if _, ok := s.verdict(piece); ok {
		s.finished(piece)
	}
}

func (s *Scheduler) corrupt(piece int) {
	author, ok := s.verdict(piece)
	if !ok {
		return
	}
	s.flights.wasted += s.pieces.bytes(piece)
	s.want(piece)
	s.ban(author, protocol.CodeBadData)
}

func (s *Scheduler) unsaved(piece int) {
	if _, ok := s.verdict(piece); ok {
		s.flights.wasted += s.pieces.bytes(piece)
		s.want(piece)
	}
}

func (s *Scheduler) inconsistent(piece int) {
	if _, ok := s.verdict(piece); ok {
		s.end(Fail{Err: protocol.Errorf(protocol.CodeBadManifest,
			"the description of this file contradicts itself (piece %d): whoever shared it must share it again", piece)})
	}
}

// pause takes back what may still be waiting somewhere: it would only be
// thrown away here.
func (s *Scheduler) pause(ev Paused) {
	s.paused = &ev
	s.flights.refused = false
	for _, p := range s.peers {
		for _, r := range p.out {
			if r.live() {
				s.cancel(r)
			}
		}
	}
}

func (s *Scheduler) resume() {
	s.paused = nil
	for _, p := range s.peers {
		p.pace.progress = s.now
	}
}
