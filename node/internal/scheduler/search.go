package scheduler

import (
	"fmt"
	"slices"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// enough is how many useful peers a download has before it stops asking
	// for more: with fewer, one slow or leaving peer is felt.
	enough = 4
	// searchFirst and searchMost bound the time between two FindPeers; it
	// doubles while no peer comes or goes.
	searchFirst = 5 * time.Second
	searchMost  = time.Minute
	// lastHope is how long a download goes on when all that is missing is
	// offered by banned peers alone.
	lastHope = 45 * time.Second
	// stuck is how long a peer may sit on requests without delivering while
	// the budget keeps another from being asked at all.
	stuck = time.Minute
	// patience and slowest bound the wait for the answer to a cancelled
	// request: the piece may be on its way, as slowly as is allowed (bytes per second).
	patience = 30 * time.Second
	slowest  = protocol.PieceMinRate
)

// search is the state of looking for peers.
type search struct {
	candidates int
	interval   time.Duration
	last, next time.Duration // of FindPeers
	// hopeless is since when only banned peers offer what is missing; notYet if
	// that is not so.
	hopeless time.Duration
}

func newSearch() search {
	return search{interval: searchFirst, last: -searchFirst, hopeless: notYet}
}

// changed tells that a peer came or went: it is worth asking again soon.
func (f *search) changed() {
	f.interval = searchFirst
	f.next = min(f.next, f.last+searchFirst)
}

func (s *Scheduler) tick() {
	s.forgive()
	s.dropUnanswering()
	s.dropStuck()
	s.findPeers()
	s.giveUp()
}

// findPeers asks for peers when few are useful.
func (s *Scheduler) findPeers() {
	if s.paused != nil || s.pieces.left == 0 || s.Useful()-s.stalled() >= enough || s.now < s.search.next {
		return
	}
	s.emit(FindPeers{})
	s.search.last = s.now
	s.search.next = s.now + s.search.interval
	s.search.interval = min(2*s.search.interval, searchMost)
}

// isStalled reports whether a peer has been asked for pieces and delivered none
// for longer than a slow one takes: it may say that it is not its turn for ever.
func (s *Scheduler) isStalled(p *remote) bool {
	limit := max(stuck, 2*time.Duration(s.pieces.length/slowest)*time.Second)
	return len(p.out) > 0 && s.now-p.pace.progress > limit
}

// stalled counts the useful peers that are.
func (s *Scheduler) stalled() int {
	n := 0
	for _, p := range s.peers {
		if p.interesting > 0 && s.isStalled(p) {
			n++
		}
	}
	return n
}

// IsStalled reports whether nobody is left to fetch from but peers that have
// sent nothing for over a minute.
func (s *Scheduler) IsStalled() bool {
	useful := s.Useful()
	return len(s.authors) == 0 && useful > 0 && useful == s.stalled()
}

// LongestStalled returns the peer that has kept this client waiting for
// longest, if one has for over a minute: whose place another may have.
func (s *Scheduler) LongestStalled() (id Peer, ok bool) {
	var since time.Duration
	for _, p := range s.peers {
		if s.isStalled(p) && (!ok || p.pace.progress < since) {
			id, since, ok = p.id, p.pace.progress, true
		}
	}
	return id, ok
}

// dropUnanswering sends peers away that do not answer a cancelled request.
func (s *Scheduler) dropUnanswering() {
	limit := patience + time.Duration(s.pieces.length/slowest)*time.Second
	for _, p := range slices.Backward(s.peers) { // banning takes p out of it
		for _, r := range p.out {
			if !r.live() && s.now-r.cancelled > limit {
				s.ban(p.id, protocol.CodeBusy)
				break
			}
		}
	}
}

// dropStuck sends the peer away that has not delivered for longest, if the
// budget that it holds keeps another one idle.
func (s *Scheduler) dropStuck() {
	if s.paused != nil || s.flights.allows(s.pieces.length) {
		return
	}
	var worst *remote
	idle := false
	for _, p := range s.peers {
		switch {
		case len(p.out) == 0:
			idle = idle || p.interesting > 0
		case s.now-p.pace.progress > stuck && (worst == nil || p.pace.progress < worst.pace.progress):
			worst = p
		}
	}
	if idle && worst != nil {
		s.ban(worst.id, protocol.CodeBusy)
	}
}

// giveUp fails the download when everybody who offered what is missing sent
// bad data, and nobody else came.
func (s *Scheduler) giveUp() {
	if s.paused != nil || s.busy() || s.Useful() > 0 || s.search.candidates > 0 {
		s.search.hopeless = notYet
		return
	}
	piece, ok := s.onlyFromBad()
	switch {
	case !ok:
		s.search.hopeless = notYet
	case s.search.hopeless == notYet:
		s.search.hopeless = s.now
	case s.now-s.search.hopeless >= lastHope:
		s.end(Fail{Err: protocol.Errorf(protocol.CodeBadData,
			"every peer that offers piece %d sent wrong data; verified pieces are kept", piece)})
	}
}

// busy reports whether anything is asked for or being verified.
func (s *Scheduler) busy() bool { return len(s.flights.byPiece) > 0 || len(s.authors) > 0 }

// Useful counts the connected peers that have a missing piece.
func (s *Scheduler) Useful() int {
	n := 0
	for _, p := range s.peers {
		if p.interesting > 0 {
			n++
		}
	}
	return n
}

// IsUseful reports whether a connected peer has a missing piece.
func (s *Scheduler) IsUseful(id Peer) bool {
	p := s.byID[id]
	return p != nil && p.interesting > 0
}

// InFlight returns the bytes that count against the budget.
func (s *Scheduler) InFlight() int64 { return s.flights.bytes }

// IsHungry reports whether the last step would have asked for more with a
// larger budget.
func (s *Scheduler) IsHungry() bool { return s.flights.refused }

// Wasted returns the bytes that were received and thrown away.
func (s *Scheduler) Wasted() int64 { return s.flights.wasted }

// Waiting tells why nothing is fetched, as a code and a sentence for a person;
// both empty if something is, or is about to be.
func (s *Scheduler) Waiting() (protocol.Code, string) {
	switch {
	case s.over:
		return "", ""
	case s.paused != nil:
		return s.paused.Code, s.paused.Message
	case s.IsStalled():
		return protocol.CodeBusy, "those who have this file keep this client waiting and have sent nothing for over a minute; others are looked for, progress is kept"
	case s.busy() || s.Useful() > 0:
		return "", ""
	case len(s.peers) == 0:
		return protocol.CodeNoSeeders, "no member who is online has this file; progress is kept"
	default:
		return protocol.CodeNoSeeders, fmt.Sprintf(
			"the members who are online lack what is missing here too (%d of %d pieces); progress is kept",
			s.pieces.left, len(s.pieces.status))
	}
}
