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
	// gentle is how many pieces go out for each slot after the first, when
	// somebody begins to read.
	gentle = 16
	// parkedPerSlot bounds the writes that are blocked on slow readers, each
	// with one chunk in memory, in proportion to the slots.
	parkedPerSlot = 4
)

// turns decides which waiting request is served next. It owns all requests
// that wait and the slots; streams hold theirs for one piece. Peers take turns,
// and so do the streams of one peer; see choice.go.
//
// A slot that a slow reader blocks is taken from it (park): its write goes on
// without one. So nobody holds up others by not reading.
type turns struct {
	mu      sync.Mutex
	slots   int
	free    int // below zero while more are in use than there are now
	gentle  int // grants for each slot after the first, in the beginning; 0 for none
	first   int // of the grants of the beginning, if it is not over
	begins  bool
	extra   int  // slots beside those of the beginning, as a trial
	slow    bool // a reader blocked the few slots of the beginning
	grants  int  // so far
	reserve int  // of the slots, for peers not served yet
	limit   int  // of parked
	ring    []*peerTurns
	parked  []*queue // longest first
	sent    map[protocol.FileID]*outgoing
}

// peerTurns is one peer's place in the ring.
type peerTurns struct {
	id     peer.ID
	queues []*queue
	served bool
}

// queue is one stream's part. Its fields belong to turns.
type queue struct {
	peer *peerTurns
	file protocol.FileID
	own  owner

	waiting  []int
	passed   int // turns in a row that others had
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

func newTurns(slots, gentle int) *turns {
	return &turns{
		slots: slots, gentle: gentle, begins: true, free: slots, reserve: slots / freshShare, limit: slots * parkedPerSlot,
		sent: map[protocol.FileID]*outgoing{},
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
		counts = &outgoing{pieces: map[int]sent{}}
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
	if len(t.ring) == 0 {
		t.begins, t.first = true, t.grants
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
// how many writes are blocked; as many as there are slots if so in the beginning.
func (t *turns) pressure() (wanting bool, blocked int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.slow {
		t.slow = false
		return true, max(t.slots, len(t.parked))
	}
	return t.free <= t.reserve && t.waits(), len(t.parked)
}

// waits reports whether a stream waits for its turn. mu is held.
func (t *turns) waits() bool {
	for _, p := range t.ring {
		for _, q := range p.queues {
			if len(q.waiting) > 0 && q.granted < 0 && !q.sending {
				return true
			}
		}
	}
	return false
}

// readers returns how many streams there are.
func (t *turns) readers() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.ring {
		n += len(p.queues)
	}
	return n
}

// held returns how many slots are in use while requests wait for no other reason
// than that this is the beginning; 0 if that is not so.
func (t *turns) held() (used int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free <= 0 || !t.narrow() || !t.waits() {
		return 0
	}
	return t.slots - t.free
}

// widen allows so many slots more in the beginning, or ends it.
func (t *turns) widen(extra int, over bool) {
	t.mu.Lock()
	t.extra = extra
	if over {
		t.begins = false
	}
	woken := t.dispatch()
	t.mu.Unlock()
	wakeAll(woken)
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
	if t.begins {
		t.begins, t.slow = false, true // it is not our uplink that takes time
	}
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
	for t.free > 0 && !t.narrow() {
		newcomers := t.free <= t.reserve
		q := t.next(newcomers, true)
		if q == nil {
			q = t.next(newcomers, false)
		}
		if q == nil {
			break
		}
		t.free--
		t.grants++
		q.holding = true
		q.peer.served = true
		q.granted = t.pick(q)
		woken = append(woken, q)
	}
	return woken
}

// narrow reports whether the beginning keeps the slots that are free from being
// used: nobody has anything to trade before a whole piece is there, so at first
// pieces go out one after the other. mu is held.
func (t *turns) narrow() bool {
	allowed := t.slots
	if t.begins && t.gentle > 0 {
		allowed = 1 + (t.grants-t.first)/t.gentle
		t.begins = allowed < t.slots
		allowed += t.extra
	}
	return t.slots-t.free >= allowed
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
