package replica

import (
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

// trustAlone is how long after its start a tracker that has heard no other one
// lets nothing end by its own clock: somebody may be about to set it right.
const trustAlone = time.Hour

// reading is what another tracker's clock showed when it was heard last.
type reading struct {
	shown time.Time
	at    time.Time // when that was, by the monotonic clock
	// ahead is by how much it was ahead of this one's wall clock then. A machine
	// that sleeps does not move it, as it does the monotonic clock.
	ahead time.Duration
}

// noteClock notes what the clock of another tracker shows at wall, by this one's.
func (l *link) noteClock(shown, wall time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock = reading{shown: shown, at: time.Now(), ahead: shown.Sub(wall)}
}

// clockNow is what the clock of another tracker shows now, wherever this one's
// wall clock was set to meanwhile; false if it was not heard since the start.
func (l *link) clockNow() (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clock.shown.Add(time.Since(l.clock.at)), !l.clock.at.IsZero()
}

// clockAhead is by how much the clock of another tracker was ahead of this one's
// when it was heard last; false if it was not heard since the start.
func (l *link) clockAhead() (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clock.ahead, !l.clock.at.IsZero()
}

// earliest is what the slowest clock shows, Unix milliseconds: this tracker's, or
// that of another one of the list that was heard since the start. It is trusted
// if another was heard, or nobody was for long enough.
func (r *Replica) earliest() (millis int64, trusted bool) {
	millis, trusted = r.wall(), time.Since(r.begun) >= trustAlone
	for _, l := range r.links.all() {
		if theirs, ok := l.clockNow(); ok {
			millis, trusted = min(millis, theirs.UnixMilli()), true
		}
	}
	return millis, trusted
}

// expire drops what is past its time by all clocks from catalog and store. A
// tracker whose clock is ahead must not lose logouts that still count.
func (r *Replica) expire() {
	now, trusted := r.earliest()
	err := r.change(r.ctx, func(t *txn) error {
		if !trusted {
			return nil
		}
		for _, k := range t.cat.Expire(now) {
			t.batch.Delete = append(t.batch.Delete, string(k))
		}
		return nil
	})
	if err != nil {
		log.Debugw("expire", "err", err)
	}
}

// setBack reads the catalog again if it has let facts end by a clock that turns
// out to have been ahead: it would refuse the logouts of sessions that go on. What
// the store has dropped as well comes from the others.
func (w *writer) setBack() error {
	now, _ := w.r.earliest()
	horizon, ended := w.horizonFrom(now)
	if !ended {
		return nil
	}
	log.Warnw("facts ended by a clock that was ahead; the catalog is read again",
		"ahead", time.Duration(horizon-now)*time.Millisecond)
	return w.readAgain(0)
}

// horizonFrom takes the catalog's time back to now where that is much earlier. It
// reports whether something has ended that has not by now.
func (w *writer) horizonFrom(now int64) (horizon int64, ended bool) {
	s := &w.r.state
	s.mu.RLock()
	horizon = s.cat.Horizon()
	s.mu.RUnlock()
	if horizon == 0 || now >= horizon-protocol.CredentialSkew.Milliseconds() {
		return horizon, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return horizon, !s.cat.SetBack(now)
}
