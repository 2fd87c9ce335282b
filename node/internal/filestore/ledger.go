package filestore

import "sync"

// ledger knows which pieces of a growing file are verified, and tells watchers
// of each that is added. Safe for concurrent use.
type ledger struct {
	pieces int
	limit  int // of volatile

	mu       sync.Mutex
	moved    *sync.Cond // volatile or fault changed
	have     bitfield
	count    int   // of have
	unsynced int   // waiting for take
	volatile int   // those and more: from reserve until durable
	fault    error // of the last attempt to make them durable
	watchers map[*watcher]struct{}
}

// watcher is one subscription. calls counts callbacks under way.
type watcher struct {
	f     func(piece int)
	calls sync.WaitGroup
}

// newLedger lets limit pieces be written and not durable.
func newLedger(pieces, limit int) *ledger {
	l := &ledger{pieces: pieces, limit: limit, have: newBitfield(pieces), watchers: map[*watcher]struct{}{}}
	l.moved = sync.NewCond(&l.mu)
	return l
}

// hold marks pieces that were there before the first add.
func (l *ledger) hold(pieces bitfield) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.pieces {
		if pieces.has(i) && !l.have.has(i) {
			l.have.set(i)
			l.count++
		}
	}
}

// reserve waits until one piece more may be written; add or unreserve must
// follow. It returns why pieces cannot be made durable, while they cannot.
func (l *ledger) reserve() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.fault == nil && l.volatile >= l.limit {
		l.moved.Wait()
	}
	if l.fault == nil {
		l.volatile++
	}
	return l.fault
}

// unreserve is for a piece that was not written.
func (l *ledger) unreserve() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unreserveLocked(1)
}

func (l *ledger) unreserveLocked(pieces int) {
	l.volatile -= pieces
	l.moved.Broadcast()
}

// add marks a piece and tells the watchers, outside of the lock. It returns
// how many pieces wait to become durable.
func (l *ledger) add(i int) (unsynced int) {
	l.mu.Lock()
	if l.have.has(i) {
		defer l.mu.Unlock()
		l.unreserveLocked(1)
		return l.unsynced
	}
	l.have.set(i)
	l.count++
	l.unsynced++
	unsynced = l.unsynced
	told := make([]*watcher, 0, len(l.watchers))
	for w := range l.watchers {
		w.calls.Add(1)
		told = append(told, w)
	}
	l.mu.Unlock()
	for _, w := range told {
		w.f(i)
		w.calls.Done()
	}
	return unsynced
}

// remove takes back pieces that are not on disk after all.
func (l *ledger) remove(pieces ...int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range pieces {
		if l.have.has(i) {
			l.have.clear(i)
			l.count--
		}
	}
}

// subscribe calls f for each piece added until the returned function returns,
// which waits for a call under way.
func (l *ledger) subscribe(f func(piece int)) (cancel func()) {
	w := &watcher{f: f}
	l.mu.Lock()
	l.watchers[w] = struct{}{}
	l.mu.Unlock()
	return func() {
		l.mu.Lock()
		delete(l.watchers, w)
		l.mu.Unlock()
		w.calls.Wait()
	}
}

// has reports whether piece i is verified.
func (l *ledger) has(i int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.have.has(i)
}

// lacks returns the first piece from first to last that is not verified.
func (l *ledger) lacks(first, last int) (piece int, lacking bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := first; i <= last; i++ {
		if !l.have.has(i) {
			return i, true
		}
	}
	return 0, false
}

// missing returns all pieces that are not verified.
func (l *ledger) missing() (pieces []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.pieces {
		if !l.have.has(i) {
			pieces = append(pieces, i)
		}
	}
	return pieces
}

// snapshot returns a copy of the verified pieces, and whether they are all.
func (l *ledger) snapshot() (have bitfield, complete bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.have.clone(), l.count == l.pieces
}

// take returns the verified pieces to be made durable, and how many of them
// were waiting for that; settle must follow.
func (l *ledger) take() (have bitfield, waiting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting, l.unsynced = l.unsynced, 0
	return l.have.clone(), waiting
}

// settle tells what came of a take: nil, or why its pieces still wait.
func (l *ledger) settle(waiting int, fault error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = fault
	if fault != nil {
		l.unsynced += waiting
		waiting = 0
	}
	l.unreserveLocked(waiting)
}
