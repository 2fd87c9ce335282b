package piece

import (
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// maxDrops is how many answers to cancelled requests a leecher may leave
	// unread before it is taken for a hostile one.
	maxDrops = 4 * protocol.MaxRequestsQueued
	// freshShare of the slots is kept for peers that have had nothing yet.
	freshShare = 8
	// parkedPerSlot bounds the writes that are blocked on slow readers, each
	// with one chunk in memory, in proportion to the slots.
	parkedPerSlot = 4
)

// turns decides which waiting request is served next. It owns all requests
// that wait and the slots; streams hold theirs for one piece. Peers take turns,
// and so do the streams of one peer; of a stream's requests the piece goes
// first that went out least often, so that leechers who start together get
// different pieces to trade.
//
// A slot that a slow reader blocks is taken from it (park): its write goes on
// without one. So nobody holds up others by not reading.
type turns struct {
	mu      sync.Mutex
	slots   int
	free    int // below zero while more are in use than there are now
	reserve int // of the slots, for peers not served yet
	limit   int // of parked
	ring    []*peerTurns
	parked  []*queue // longest first
	sent    map[protocol.FileID]*sentCounts
}

// peerTurns is one peer's place in the ring.
type peerTurns struct {
	id     peer.ID
	queues []*queue
	served bool
}

// sentCounts counts, for the streams of one file, how often each piece went out.
type sentCounts struct {
	streams int
	pieces  map[int]uint32
}

// queue is one stream's part. Its fields belong to turns.
type queue struct {
	peer *peerTurns
	file protocol.FileID
	own  owner

	waiting  []int
	drops    []drop
	granted  int // a piece to send now, or -1
	holding  bool
	parkedAt time.Time
	sending  bool
}

// owner is the stream of a queue. Its methods do not block.
type owner interface {
	wake()          // there may be work
	kill(err error) // the stream must end
}

type drop struct {
	piece int
	code  protocol.Code
}

func newTurns(slots int) *turns {
	return &turns{
		slots: slots, free: slots, reserve: slots / freshShare, limit: slots * parkedPerSlot,
		sent: map[protocol.FileID]*sentCounts{},
	}
}

// join adds a stream.
func (t *turns) join(id peer.ID, file protocol.FileID, own owner) *queue {
	q := &queue{file: file, own: own, granted: -1}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.ring, func(p *peerTurns) bool { return p.id == id })
	if i < 0 {
		i = len(t.ring)
		t.ring = append(t.ring, &peerTurns{id: id})
	}
	q.peer = t.ring[i]
	q.peer.queues = append(q.peer.queues, q)
	counts := t.sent[file]
	if counts == nil {
		counts = &sentCounts{pieces: map[int]uint32{}}
		t.sent[file] = counts
	}
	counts.streams++
	return q
}

// leave removes a stream with all that waits, and frees its slot.
func (t *turns) leave(q *queue) {
	t.mu.Lock()
	q.waiting, q.drops, q.granted = nil, nil, -1
	t.release(q)
	q.peer.queues = remove(q.peer.queues, q)
	if len(q.peer.queues) == 0 {
		t.ring = remove(t.ring, q.peer)
	}
	counts := t.sent[q.file]
	if counts.streams--; counts.streams == 0 {
		delete(t.sent, q.file)
	}
	woken := t.dispatch()
	t.mu.Unlock()
	wakeAll(woken)
}

// resize sets how many slots there are. What is being sent goes on.
func (t *turns) resize(slots int) {
	t.mu.Lock()
	t.free += slots - t.slots
	t.slots, t.reserve = slots, slots/freshShare
	woken := t.dispatch()
	t.mu.Unlock()
	wakeAll(woken)
}

// pressure reports whether a request waits because all slots are in use, and
// how many writes are blocked.
func (t *turns) pressure() (wanting bool, blocked int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free > t.reserve {
		return false, len(t.parked)
	}
	for _, p := range t.ring {
		for _, q := range p.queues {
			if len(q.waiting) > 0 && q.granted < 0 && !q.sending {
				return true, len(t.parked)
			}
		}
	}
	return false, len(t.parked)
}

// request queues a request; false if there are too many.
func (t *turns) request(q *queue, piece int) bool {
	t.mu.Lock()
	if len(q.waiting) >= protocol.MaxRequestsQueued {
		t.mu.Unlock()
		return false
	}
	q.waiting = append(q.waiting, piece)
	woken := t.dispatch()
	t.mu.Unlock()
	// Its writer must know that something waits, to say so in time.
	wakeAll(append(woken, q))
	return true
}

// cancel takes a waiting request back; one that is being served goes on.
// False if the leecher leaves too many answers unread.
func (t *turns) cancel(q *queue, piece int) bool {
	t.mu.Lock()
	i := slices.Index(q.waiting, piece)
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
		q.drops = append(q.drops, drop{piece: piece})
	}
	ok := len(q.drops) <= maxDrops
	t.mu.Unlock()
	wakeAll([]*queue{q})
	return ok
}

// drop answers a request that cannot be served; false as for cancel.
func (t *turns) drop(q *queue, d drop) bool {
	t.mu.Lock()
	q.drops = append(q.drops, d)
	ok := len(q.drops) <= maxDrops
	t.mu.Unlock()
	wakeAll([]*queue{q})
	return ok
}

// work returns what the stream has to write: answers, then a piece or -1, and
// whether requests still wait. After the piece is sent, done must be called.
func (t *turns) work(q *queue) (drops []drop, piece int, waiting bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	drops, q.drops = q.drops, nil
	piece, q.granted = q.granted, -1
	q.sending = piece >= 0
	return drops, piece, len(q.waiting) > 0
}

// done gives the slot back.
func (t *turns) done(q *queue) {
	t.mu.Lock()
	q.sending = false
	t.release(q)
	woken := t.dispatch()
	t.mu.Unlock()
	wakeAll(woken)
}

// park takes the slot from a stream whose write is blocked. If too many are
// parked, it returns the one that has been so for longest, to be closed.
func (t *turns) park(q *queue, now time.Time) (excess *queue) {
	t.mu.Lock()
	if !q.holding {
		t.mu.Unlock()
		return nil
	}
	q.holding, q.parkedAt = false, now
	t.free++
	t.parked = append(t.parked, q)
	if len(t.parked) > t.limit {
		excess = t.parked[0]
		t.parked = slices.Delete(t.parked, 0, 1)
	}
	woken := t.dispatch()
	t.mu.Unlock()
	wakeAll(woken)
	return excess
}

// release frees what q holds. mu is held.
func (t *turns) release(q *queue) {
	if q.holding {
		q.holding = false
		t.free++
	}
	if !q.parkedAt.IsZero() {
		q.parkedAt = time.Time{}
		t.parked = remove(t.parked, q)
	}
}

// dispatch hands out free slots and returns whom to wake. mu is held.
func (t *turns) dispatch() (woken []*queue) {
	for t.free > 0 {
		q := t.next(t.free <= t.reserve)
		if q == nil {
			break
		}
		t.free--
		q.holding = true
		q.peer.served = true
		q.granted = t.pick(q)
		woken = append(woken, q)
	}
	return woken
}

// next finds the first stream in the order of turns that can use a slot, and
// moves it and its peer to the end. mu is held.
func (t *turns) next(freshOnly bool) *queue {
	for i, p := range t.ring {
		if freshOnly && p.served {
			continue
		}
		for j, q := range p.queues {
			if len(q.waiting) == 0 || q.granted >= 0 || q.sending {
				continue
			}
			t.ring = append(slices.Delete(t.ring, i, i+1), p)
			p.queues = append(slices.Delete(p.queues, j, j+1), q)
			return q
		}
	}
	return nil
}

// pick takes the waiting request whose piece went out least often, of equals
// the first. mu is held.
func (t *turns) pick(q *queue) int {
	counts := t.sent[q.file].pieces
	best := 0
	for i, piece := range q.waiting {
		if counts[piece] < counts[q.waiting[best]] {
			best = i
		}
	}
	piece := q.waiting[best]
	q.waiting = slices.Delete(q.waiting, best, best+1)
	counts[piece]++
	return piece
}

func wakeAll(queues []*queue) {
	for _, q := range queues {
		q.own.wake()
	}
}

// remove deletes the first x from s.
func remove[T comparable](s []T, x T) []T {
	if i := slices.Index(s, x); i >= 0 {
		return slices.Delete(s, i, i+1)
	}
	return s
}
