package piece

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// limitBurst is what may move at once after a silence: one chunk with its
	// headers.
	limitBurst = chunk + 256
	// leastPerSlot is the rate that each piece being sent has at least under a
	// limit. Well above what the deadlines demand, so that a limit makes no
	// peer late; fewer pieces at once also means that each is there, and can be
	// traded, sooner.
	leastPerSlot = 8 * protocol.PieceMinRate
	// MinLimit is the smallest limit, in bytes per second, at which two pieces
	// at once still meet the deadlines with some room.
	MinLimit = 4 * protocol.PieceMinRate
)

// Limit bounds the bytes per second of all streams that share it, in the order
// in which they ask. A nil Limit bounds nothing. It is safe for concurrent use.
type Limit struct{ limiter *rate.Limiter }

// NewLimit makes a limit of so many bytes per second.
func NewLimit(bytesPerSecond int64) *Limit {
	return &Limit{rate.NewLimiter(rate.Limit(bytesPerSecond), limitBurst)}
}

// wait returns when n bytes, at most limitBurst, may move; false if ended was
// closed before.
func (l *Limit) wait(n int, ended <-chan struct{}) bool {
	r := l.limiter.ReserveN(time.Now(), n)
	delay := r.Delay()
	if delay <= 0 {
		return true
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ended:
		r.Cancel()
		return false
	}
}

// rate returns the bytes per second, 0 for no bound.
func (l *Limit) rate() float64 {
	if l == nil {
		return 0
	}
	return float64(l.limiter.Limit())
}

// slots returns how many pieces are sent at once under the limit, if up to
// most would be without it.
func (l *Limit) slots(most int) int {
	if l == nil {
		return most
	}
	return min(most, max(1, int(l.limiter.Limit()/leastPerSlot)))
}
