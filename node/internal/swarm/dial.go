package swarm

import (
	"context"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/node/internal/scheduler"
)

const (
	// maxDials bounds the dials under way, so that a long list of peers that
	// are gone does not take all sockets.
	maxDials = 8
	// maxOpen bounds the links and dials of one download: more add little to
	// the rate, and each costs the other side a stream.
	maxOpen = 30
	// dialTimeout covers a connection and the opening of a stream, with time
	// for a second address.
	dialTimeout = 20 * time.Second
	// idleLink is how long a peer without anything that we need keeps its
	// link while others wait for the place. Whoever gave its place to another is
	// dialed again after idleAgain.
	idleLink  = 15 * time.Second
	idleAgain = time.Minute
)

// dialMore starts dials as far as they are allowed, those first that have been
// due longest; peers never tried come before all.
func (l *loop) dialMore(ctx context.Context, now time.Time) {
	for !l.over && l.disk.probe == nil && l.roster.dialing < maxDials && l.roster.dialing+l.roster.open < maxOpen {
		next := l.roster.due(now)
		if next == nil {
			return
		}
		l.dial(ctx, next)
	}
}

// due returns the peer to dial next, nil if none may be dialed now.
func (r *roster) due(now time.Time) *entry {
	var next *entry
	for _, e := range r.order {
		if e.session != nil || !e.usable(now) || now.Before(e.next) {
			continue
		}
		if next == nil || e.next.Before(next.next) {
			next = e
		}
	}
	return next
}

func (l *loop) dial(ctx context.Context, e *entry) {
	s := &session{entry: e}
	e.session = s
	p := e.peer
	l.owed++
	l.roster.dialing++
	go func() {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		link, err := l.cfg.Dial(ctx, p, func(ev piece.Event) {
			l.post(linkEvent{session: s, event: ev})
		})
		l.post(dialed{session: s, link: link, err: err})
	}()
}

// countCandidates tells the scheduler how many peers may still join.
func (l *loop) countCandidates(ctx context.Context, now time.Time) {
	n := 0
	for _, e := range l.roster.order {
		if e.usable(now) && e.failures < hopeless && (e.session == nil || !e.session.joined) {
			n++
		}
	}
	if n != l.roster.candidates {
		l.roster.candidates = n
		l.dirty = true
		l.step(ctx, scheduler.Candidates{Count: n})
	}
}

// makeRoom closes the link of a peer that has nothing for us, or else of the one
// that has kept us waiting for longest, if all places are taken and somebody
// else waits for one.
func (l *loop) makeRoom(ctx context.Context, now time.Time) {
	if l.roster.dialing+l.roster.open < maxOpen || l.roster.due(now) == nil {
		return
	}
	for _, e := range l.roster.order {
		s := e.session
		if s == nil || !s.joined || now.Sub(s.opened) < idleLink || l.sched.IsUseful(s.id()) {
			continue
		}
		l.sendAway(ctx, s, now)
		return
	}
	if id, ok := l.sched.LongestStalled(); ok {
		if s := l.roster.session(id); s != nil {
			l.sendAway(ctx, s, now)
		}
	}
}

// sendAway ends a link for a while.
func (l *loop) sendAway(ctx context.Context, s *session, now time.Time) {
	l.leave(s)
	s.entry.next = now.Add(idleAgain)
	l.step(ctx, scheduler.PeerLeft{Peer: s.id()})
}
