package replica

import (
	"slices"
	"sync"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

const (
	// maxQuarantine bounds the facts that wait, maxQuarantineBytes what they hold;
	// more are dropped, and come by exchange when their time has come.
	maxQuarantine      = 10_000
	maxQuarantineBytes = 32 << 20
	// alarmEvery is the least time between two warnings about such facts.
	alarmEvery = time.Minute
)

// quarantine holds facts of other trackers whose stamps are too far ahead, outside
// catalog and digests, until their time comes. The zero value is ready.
type quarantine struct {
	mu      sync.Mutex
	facts   map[futureID]catalog.Fact
	bytes   int // of keys and values of facts
	alarmed time.Time
}

type futureID struct {
	key   catalog.Key
	stamp protocol.Stamp
}

// hold takes f if it is from the future; false if it is not.
func (q *quarantine) hold(wall int64, f catalog.Fact) bool {
	if !isFuture(wall, f.Stamp) {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.isFull() {
		q.put(f)
	}
	if now := time.Now(); now.Sub(q.alarmed) > alarmEvery {
		q.alarmed = now
		log.Warnw("a tracker's clock is more than 5 minutes ahead of this one's; its changes wait",
			"tracker", f.Stamp.Origin, "ahead", time.Duration(f.Stamp.Wall-wall)*time.Millisecond, "waiting", len(q.facts))
	}
	return true
}

// declines reports whether there is no use in fetching a fact from the future:
// it waits already, or there is no room for it.
func (q *quarantine) declines(k catalog.Key, s protocol.Stamp) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, ok := q.facts[futureID{k, s}]
	return ok || q.isFull()
}

// has reports whether a fact of one of the keys waits.
func (q *quarantine) has(keys ...catalog.Key) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for id := range q.facts {
		if slices.Contains(keys, id.key) {
			return true
		}
	}
	return false
}

// Awaits reports whether a change of one of these keys has come of a tracker whose
// clock is ahead, and counts here only when its time has come.
func (r *Replica) Awaits(keys ...catalog.Key) bool { return r.later.has(keys...) }

func (q *quarantine) isFull() bool {
	return len(q.facts) >= maxQuarantine || q.bytes >= maxQuarantineBytes
}

func (q *quarantine) put(f catalog.Fact) {
	if q.facts == nil {
		q.facts = map[futureID]catalog.Fact{}
	}
	id := futureID{f.Key, f.Stamp}
	q.bytes += heldBytes(f) - heldBytes(q.facts[id])
	q.facts[id] = f
}

func heldBytes(f catalog.Fact) int { return len(f.Key) + len(f.Value) }

// due takes out the facts whose time has come.
func (q *quarantine) due(wall int64) []catalog.Fact {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []catalog.Fact
	for id, f := range q.facts {
		if !isFuture(wall, f.Stamp) {
			out = append(out, f)
			delete(q.facts, id)
			q.bytes -= heldBytes(f)
		}
	}
	return out
}

// putBack takes facts in again that could not be stored: the tracker that had
// them may be gone.
func (q *quarantine) putBack(facts []catalog.Fact) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, f := range facts {
		q.put(f)
	}
}

func (r *Replica) releaseDue() {
	facts := r.later.due(r.wall())
	if len(facts) == 0 {
		return
	}
	// The tracker that had them may be gone, and its disk: they may be here alone.
	open := r.proofs.begin()
	err := r.mergeAll(r.ctx, facts)
	r.proofs.end(open, false)
	if err != nil {
		log.Infow("take in facts whose time has come", "err", err)
		r.later.putBack(facts)
	}
}
