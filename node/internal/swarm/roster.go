package swarm

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/node/internal/scheduler"
	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// retryFirst doubles with each failure in a row up to retryMost.
	retryFirst = time.Second
	retryMost  = time.Minute
	// refusedFirst and refusedMost are the same for a peer that does not accept
	// us as a member: only a new ticket, or news at its side, can change that.
	// The news may be on its way, so the first wait is short.
	refusedFirst = 5 * time.Second
	refusedMost  = 10 * time.Minute
	// trackerless is the longest wait after a dial that failed for want of a
	// tracker to issue a ticket: that is not the peer's fault, and trackers come back.
	trackerless = 5 * time.Second
	// busyWait is the pause before a peer is tried again that serves as many
	// downloads of this client as it does at once: one may end at any time.
	busyWait = 3 * time.Second
	// hopeless failures in a row make a peer count as unreachable.
	hopeless = 3
)

// entry is a peer that the node has named.
type entry struct {
	peer     Peer
	offered  bool     // the file, as far as the node knows
	session  *session // nil while there is neither a dial nor a link
	failures int      // in a row
	code     protocol.Code
	obstacle string    // to the last dial, in a few words; may be empty
	next     time.Time // not dialed before
	banned   time.Time // not dialed before, whatever is said
}

// session is one dial to a peer and the link that comes of it.
type session struct {
	entry  *entry
	link   Link // nil while it is being dialed
	opened time.Time

	// What the peer said that it has, until it joins.
	told     bool
	complete bool
	bits     []byte

	joined  bool // the scheduler knows it
	leaving bool // we closed the link
	closed  bool // its Closed has come
	ended   bool // nothing more may come
	err     error
}

func (s *session) id() scheduler.Peer { return scheduler.Peer(s.entry.peer.ID) }

func (s *session) announced(ev piece.Bitfield) {
	if !s.joined {
		s.told, s.complete, s.bits = true, ev.Complete, ev.Bits
	}
}

// has adds a piece to what a peer has that has not joined yet.
func (s *session) has(piece int) {
	if piece >= 0 && piece/8 < len(s.bits) {
		s.bits[piece/8] |= 0x80 >> (piece % 8)
	}
}

// roster is who may be asked, and how it went with each so far.
type roster struct {
	rng   *rand.Rand // for the spread of retries
	byID  map[peer.ID]*entry
	order []*entry
	past  map[peer.ID]time.Time // until when those are banned that sent bad pieces
	// changed asks the loop to look whom to dial.
	changed bool

	dialing, open, joined int
	// candidates is what the scheduler knows of peers that may still join.
	candidates int
}

func newRoster(rng *rand.Rand) *roster {
	return &roster{rng: rng, byID: make(map[peer.ID]*entry), past: make(map[peer.ID]time.Time)}
}

// session returns the link that the scheduler may use, nil if there is none.
func (r *roster) session(id scheduler.Peer) *session {
	e := r.byID[peer.ID(id)]
	if e == nil || e.session == nil || !e.session.joined {
		return nil
	}
	return e.session
}

// offer notes a peer. One that had withdrawn may be tried at once.
func (r *roster) offer(p Peer, again bool) {
	e := r.byID[p.ID]
	if e == nil {
		if len(r.order) >= maxKnown {
			return
		}
		e = &entry{banned: r.past[p.ID]}
		r.byID[p.ID] = e
		// In a large group nobody dials everybody: at random places, or all would
		// dial those whom the tracker names first.
		r.order = slices.Insert(r.order, r.rng.IntN(len(r.order)+1), e)
	}
	if again || !e.offered {
		e.failures, e.code, e.next = 0, "", time.Time{}
	}
	e.peer, e.offered = p, true
	r.changed = true
}

func (r *roster) withdraw(id peer.ID) {
	if e := r.byID[id]; e != nil {
		e.offered = false
		r.changed = true
		r.forget(e)
	}
}

// forget drops a peer of whom nothing needs to be known any more.
func (r *roster) forget(e *entry) {
	if e.offered || e.session != nil || time.Now().Before(e.banned) {
		return
	}
	delete(r.byID, e.peer.ID)
	for i, other := range r.order {
		if other == e {
			r.order = append(r.order[:i], r.order[i+1:]...)
			return
		}
	}
}

// renewed shows a new ticket to open links, and makes those try it again who
// refused the last one.
func (r *roster) renewed(ticket []byte) {
	for _, e := range r.order {
		if e.session != nil && e.session.link != nil && !e.session.leaving {
			e.session.link.Renew(ticket)
		}
		if refusal(e.code) {
			e.next = time.Time{}
		}
	}
	r.changed = true
}

// gave notes that a peer is worth dialing again soon.
func (r *roster) gave(id peer.ID) {
	if e := r.byID[id]; e != nil {
		e.failures, e.code = 0, ""
	}
}

// ended notes how a dial or a link ended and when to try again.
func (r *roster) ended(s *session, now time.Time) {
	e := s.entry
	e.session, s.ended = nil, true
	r.changed = true
	if s.leaving {
		e.next = later(e.next, now.Add(retryFirst))
	} else {
		if !s.opened.IsZero() && now.Sub(s.opened) > retryMost {
			e.failures = 0
		}
		e.code, e.obstacle = protocol.CodeOf(s.err), brief(s.err)
		first, most := retryFirst, retryMost
		switch {
		case refusal(e.code):
			first, most = refusedFirst, refusedMost
		case e.code == protocol.CodeNoTracker:
			most = trackerless
		case e.code == protocol.CodeBusy:
			first, e.failures = busyWait, 0
		}
		wait := min(first<<min(e.failures, 10), most)
		if told, ok := errors.AsType[*protocol.Error](s.err); ok {
			wait = max(wait, min(told.RetryAfter, refusedMost))
		}
		e.failures++
		// Spread over a quarter to either side, so that a class whose seeder
		// went away does not come back as one.
		wait += time.Duration((r.rng.Float64() - 0.5) / 2 * float64(wait))
		e.next = now.Add(wait)
	}
	r.forget(e)
}

// usable reports whether a peer without a session may be dialed at some time.
func (e *entry) usable(now time.Time) bool {
	return e.offered && !now.Before(e.banned)
}

// refusal reports whether a peer does not accept our ticket.
func refusal(code protocol.Code) bool {
	return code == protocol.CodeNotMember || code == protocol.CodeSession
}

// outlook tells what may come of peers that are not connected, when none of
// the connected ones is of use: hope while one is being tried for the first
// time, or else the code of what keeps us from all that there are; empty if
// they are just gone.
func (r *roster) outlook(now time.Time) (hope bool, obstacle protocol.Code) {
	for _, e := range r.order {
		if s := e.session; s != nil && e.failures == 0 && !s.leaving && !s.joined {
			return true, ""
		}
		if !e.usable(now) {
			continue
		}
		if e.session == nil && e.failures == 0 && !now.Before(e.next) {
			return true, ""
		}
		switch {
		case e.code == protocol.CodeBusy: // the one that passes soonest
			obstacle = e.code
		case obstacle == protocol.CodeBusy:
		case refusal(e.code) || e.code == protocol.CodeNoTracker && obstacle == "":
			obstacle = e.code
		}
	}
	if r.joined > 0 {
		obstacle = ""
	}
	return false, obstacle
}

// unreached counts the peers that offer the file and cannot be connected, and
// tells what one of them failed for last.
func (r *roster) unreached(now time.Time) (n int, why string) {
	for _, e := range r.order {
		if e.usable(now) && e.failures > 0 && (e.session == nil || !e.session.joined) {
			n++
			why = cmp.Or(why, e.obstacle)
		}
	}
	return n, why
}

// brief tells in a few words why a peer could not be dialed; empty where that
// would say nothing to a person.
func brief(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to it"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer"
	default:
		return ""
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
