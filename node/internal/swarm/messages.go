package swarm

import (
	"context"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/node/internal/scheduler"
)

// linkEvent is something that a link told.
type linkEvent struct {
	session *session
	event   piece.Event
}

func (m linkEvent) apply(ctx context.Context, l *loop) {
	s := m.session
	if s.ended {
		m.discard()
		return
	}
	switch ev := m.event.(type) {
	case piece.Bitfield:
		s.announced(ev)
		l.join(ctx, s)
	case piece.Have:
		if !s.joined {
			s.has(ev.Piece)
			return
		}
		l.step(ctx, scheduler.PeerHas{Peer: s.id(), Piece: ev.Piece})
	case piece.Begun:
		if s.joined {
			l.step(ctx, scheduler.PieceBegun{Peer: s.id(), Piece: ev.Piece})
		}
	case piece.Received:
		l.received(ctx, s, ev)
	case piece.Dropped:
		if s.joined {
			l.step(ctx, scheduler.FetchFailed{Peer: s.id(), Piece: ev.Piece, Code: ev.Code})
		}
	case piece.Closed:
		s.closed, s.err = true, ev.Err
		if s.link != nil {
			l.owed--
			l.gone(ctx, s)
		}
	}
}

func (m linkEvent) discard() int {
	switch ev := m.event.(type) {
	case piece.Received:
		ev.Data.Release()
	case piece.Closed:
		m.session.closed = true
		if m.session.link != nil {
			return 1
		}
	case piece.Bitfield, piece.Have, piece.Begun, piece.Dropped:
	}
	return 0
}

// received steps with the buffer at hand: what the scheduler does not want
// verified is released.
func (l *loop) received(ctx context.Context, s *session, ev piece.Received) {
	l.arrived = ev.Data
	var rtt time.Duration
	if s.link != nil {
		rtt = s.link.RTT()
	}
	// Also of a closing link: then it counts as wasted.
	l.step(ctx, scheduler.PieceReceived{Peer: s.id(), Piece: ev.Piece, RTT: rtt})
	if l.arrived != nil {
		l.arrived.Release()
		l.arrived = nil
		l.dirty = true
	}
}

// dialed is the end of a dial.
type dialed struct {
	session *session
	link    Link
	err     error
}

func (m dialed) apply(ctx context.Context, l *loop) {
	s := m.session
	l.roster.dialing--
	l.roster.changed = true
	if m.err != nil {
		l.owed--
		log.Debugw("dial", "peer", s.entry.peer.ID, "err", m.err)
		s.err = m.err
		l.gone(ctx, s)
		return
	}
	s.link, s.opened = m.link, time.Now()
	l.roster.open++
	if s.closed { // before it was ours
		l.owed--
		l.gone(ctx, s)
		return
	}
	l.join(ctx, s)
}

func (m dialed) discard() int {
	if m.err != nil {
		return 1
	}
	m.session.link = m.link
	m.link.Close()
	if m.session.closed {
		return 1
	}
	return 0
}

// join tells the scheduler of a peer when its link is there and it has said
// what it has.
func (l *loop) join(ctx context.Context, s *session) {
	if s.link == nil || !s.told || s.joined || s.leaving {
		return
	}
	s.joined = true
	l.roster.joined++
	l.dirty = true
	l.step(ctx, scheduler.PeerJoined{Peer: s.id(), Complete: s.complete, Bits: s.bits})
	s.bits = nil
}

// leave closes a link; its Closed follows. The scheduler is told by the caller
// if it does not know yet.
func (l *loop) leave(s *session) {
	if s.joined {
		s.joined = false
		l.roster.joined--
		l.dirty = true
	}
	s.leaving = true
	s.link.Close()
}

// gone ends a session whose link is closed, or was never made.
func (l *loop) gone(ctx context.Context, s *session) {
	if s.joined {
		s.joined = false
		l.roster.joined--
		l.dirty = true
		l.step(ctx, scheduler.PeerLeft{Peer: s.id()})
	}
	if s.link != nil {
		l.roster.open--
		s.link.Close()
	}
	l.roster.ended(s, time.Now())
	if s.err != nil {
		log.Debugw("link ended", "peer", s.entry.peer.ID, "err", s.err)
	}
}

// written is the end of a verification, and of a write if it was good.
type written struct {
	write    *write
	verdict  filestore.Verdict
	err      error
	stored   bool // or err says why not
	unstored bool // the disk did not answer
	aborted  bool // the download ended before its turn came
}

// keepsData reports whether the piece has not been given back.
func (m written) keepsData() bool { return m.err != nil || m.unstored || m.aborted }

func (m written) apply(ctx context.Context, l *loop) {
	l.owed--
	w := m.write
	delete(l.disk.out, w)
	switch {
	case m.aborted:
		w.data.Release() // the loop ends as well
		return
	case m.unstored:
		l.unstored(ctx, w)
		return
	case m.err != nil:
		l.fault(ctx, w, m.err)
	default:
		l.judged(ctx, w, m.verdict)
		l.recovered(ctx, w)
	}
	if m.stored {
		l.answered(ctx)
	}
}

// judged tells the scheduler what came of a piece.
func (l *loop) judged(ctx context.Context, w *write, v filestore.Verdict) {
	l.dirty = true
	switch v {
	case filestore.Good:
		now := time.Now()
		l.meter.verified(w.from, w.piece, now)
		l.roster.gave(w.from.ID)
		l.step(ctx, scheduler.PieceVerified{Piece: w.piece})
	case filestore.Corrupt:
		log.Debugw("bad piece", "peer", w.from.ID, "piece", w.piece)
		l.step(ctx, scheduler.PieceCorrupt{Piece: w.piece})
	case filestore.Inconsistent:
		l.step(ctx, scheduler.PieceInconsistent{Piece: w.piece})
	}
}

func (m written) discard() int {
	if m.keepsData() {
		m.write.data.Release()
	}
	return 1
}
