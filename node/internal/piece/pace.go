package piece

import (
	"fmt"
	"sync"
	"time"
)

// pace judges one direction of a stream. While something is due, bytes must
// move before silence is over, and within a piece at minRate over each window.
// Time in which nothing is due does not count.
type pace struct {
	limits timing

	mu    sync.Mutex
	due   bool
	last  time.Time // of the last progress, or since when something is due
	rated bool      // within a piece
	spent time.Duration
	bytes int64 // moved in spent
}

// begin starts a piece, or, not rated, a few bytes of another kind.
func (p *pace) begin(now time.Time, rated bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due, p.last, p.rated, p.spent, p.bytes = true, now, rated, 0, 0
}

// resume goes on after pause.
func (p *pace) resume(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due, p.last = true, now
}

// moved counts bytes of the piece.
func (p *pace) moved(now time.Time, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spent += now.Sub(p.last)
	p.last = now
	p.bytes += int64(n)
}

// pause stops the clocks: the other side is not to blame for what takes time now.
func (p *pace) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due = false
}

// blocked returns for how long nothing has moved, zero while nothing is due.
func (p *pace) blocked(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.due {
		return 0
	}
	return now.Sub(p.last)
}

// check returns ErrLate once a deadline is missed. slack is what may have
// moved without being counted yet.
func (p *pace) check(now time.Time, slack int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.due {
		return nil
	}
	silent := now.Sub(p.last)
	if silent > p.limits.silence {
		return fmt.Errorf("%w: nothing for %v", ErrLate, silent.Round(time.Millisecond))
	}
	spent := p.spent + silent
	if !p.rated || spent < p.limits.window {
		return nil
	}
	if float64(p.bytes+slack) < float64(p.limits.minRate)*spent.Seconds() {
		return fmt.Errorf("%w: %d bytes in %v", ErrLate, p.bytes, spent.Round(time.Millisecond))
	}
	p.spent, p.bytes = -silent, 0
	return nil
}
