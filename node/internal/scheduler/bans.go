package scheduler

import (
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// badOnce and badAgain keep a peer away that sent a bad piece, for the
	// first time and for the next within badMemory.
	badOnce   = 10 * time.Minute
	badAgain  = 24 * time.Hour
	badMemory = 24 * time.Hour
	// unproven bounds the bytes asked of a peer and not verified: what one that
	// turns bad can waste before it is found out. A peer on probation, after a
	// bad piece, gets less, so that both times together stay below 8 MiB. One
	// piece is always allowed, however long.
	unproven  = 7 << 20
	probation = 1 << 20
	// silent keeps a peer away that held requests and did not answer.
	silent = time.Minute
)

// ban is a peer that was sent away. It stays on record after it may come back.
type ban struct {
	peer  Peer
	until time.Duration
	bad   int           // bad pieces
	last  time.Duration // time of the last one that was counted
	// offered is what it had when it was sent away for a bad piece; nil is
	// everything.
	offered *bitset.BitSet
}

// bans are few: members of one group that misbehaved for this file.
type bans struct{ list []*ban }

// Offence is a bad piece that a peer sent in an earlier run of the download.
type Offence struct {
	Peer Peer
	Bad  int           // bad pieces until then
	Ago  time.Duration // since the last one, at the beginning of this run
	For  time.Duration // how long it still is kept away
}

func newBans(offences []Offence) (b bans) {
	for _, o := range offences {
		b.list = append(b.list, &ban{peer: o.Peer, until: o.For, bad: o.Bad, last: -o.Ago, offered: bitset.New(0)})
	}
	return b
}

func (b *bans) of(id Peer) *ban {
	for _, x := range b.list {
		if x.peer == id {
			return x
		}
	}
	return nil
}

// refused sends a peer away again that came back too early.
func (s *Scheduler) refused(id Peer) bool {
	b := s.bans.of(id)
	if b == nil || b.until <= s.now {
		return false
	}
	s.emit(Ban{Peer: id, For: b.until - s.now, Code: b.code()})
	return true
}

func (b *ban) code() protocol.Code {
	if b.bad > 0 {
		return protocol.CodeBadData
	}
	return protocol.CodeBusy
}

// isBad reports whether the peer sent a bad piece within badMemory.
func (b *ban) isBad(now time.Duration) bool { return b.bad > 0 && now-b.last < badMemory }

// trust is how many pieces may be asked of a peer and not verified.
func (s *Scheduler) trust(id Peer) int {
	bytes := int64(unproven)
	if b := s.bans.of(id); b != nil && b.isBad(s.now) {
		bytes = probation
	}
	return int(max(1, bytes/s.pieces.length))
}

// ban sends a peer away. It may have left already.
func (s *Scheduler) ban(id Peer, code protocol.Code) {
	b := s.bans.of(id)
	if b == nil {
		b = &ban{peer: id, offered: bitset.New(0)}
		s.bans.list = append(s.bans.list, b)
	}
	length := silent
	if code == protocol.CodeBadData {
		if b.isBad(s.now) && s.now < b.until {
			return // one of those that were on their way when it was sent away
		}
		length = badOnce
		if b.isBad(s.now) {
			length = badAgain
		}
		b.bad++
		b.last = s.now
		if p := s.byID[id]; p != nil {
			b.offered = p.have
		}
	}
	b.until = max(b.until, s.now+length)
	e := Ban{Peer: id, For: length, Code: code}
	if code == protocol.CodeBadData {
		e.Bad = b.bad
	}
	s.emit(e)
	s.left(id)
}

// onlyFromBad returns the first missing piece that was offered by a peer which
// sent bad data.
func (s *Scheduler) onlyFromBad() (int, bool) {
	for i, ok := s.pieces.missing.NextSet(0); ok; i, ok = s.pieces.missing.NextSet(i + 1) {
		for _, b := range s.bans.list {
			if b.bad > 0 && (b.offered == nil || b.offered.Test(i)) {
				return int(i), true
			}
		}
	}
	return 0, false
}
