package trackers

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/p2pshare/p2pshare/protocol/pb"
)

const (
	// slowLink is the slowest link, in bytes per second, at which the tail of a
	// long call arrives in time.
	slowLink = 64 << 10
	// leastRate is the bytes per second over all of its time below which a long
	// call ends, though it moves: a tracker that sends a little now and then would
	// hold it for ever, and another one may do it.
	leastRate = 4 << 10
	// maxBetween bounds what is assumed to wait in buffers between two ends: that
	// of a TCP connection grows to 4 MiB.
	maxBetween = 4 << 20
)

// begin makes the context of one try of the call, which ends by itself: after
// answerBudget, for a long call since it moved last, and when it is slower than
// leastRate.
func (f call) begin(ctx context.Context) (context.Context, *moving, context.CancelFunc) {
	if f.long == nil {
		ctx, cancel := context.WithTimeout(ctx, answerBudget)
		return ctx, nil, cancel
	}
	ctx, cancel := context.WithCancelCause(ctx)
	m := &moving{began: time.Now(), last: time.Now()}
	m.ctx = ctx
	m.late = time.AfterFunc(answerBudget, func() { cancel(context.DeadlineExceeded) })
	return ctx, m, func() {
		m.late.Stop()
		cancel(nil)
	}
}

func (f call) make(ctx context.Context, rpc pb.TrackerServiceClient, m *moving) error {
	if f.long == nil {
		return f.f(ctx, rpc)
	}
	return f.long(ctx, rpc, m.moved)
}

// moving is how far one try of a long call is. A nil one is of another call.
type moving struct {
	ctx  context.Context //nolint:containedctx // of the try
	late *time.Timer     // ends the try

	began time.Time

	mu      sync.Mutex
	last    time.Time
	went    int64 // bytes
	between int
}

// moved tells that so many bytes went, and how many may be under way now.
func (m *moving) moved(bytes, between int) {
	m.mu.Lock()
	m.last, m.between = time.Now(), min(between, maxBetween)
	m.went += int64(bytes)
	left := time.Duration(m.went)*time.Second/leastRate - m.last.Sub(m.began)
	m.mu.Unlock()
	m.late.Reset(answerBudget + m.slack() + min(left, 0))
}

// slack is how long a slow link takes for what may be under way.
func (m *moving) slack() time.Duration {
	if m == nil {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Duration(m.between) * time.Second / slowLink
}

// quiet is for how long nothing has moved.
func (m *moving) quiet() time.Duration {
	if m == nil {
		return math.MaxInt64
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Since(m.last)
}

// isLate reports whether the try was ended because it did not move.
func (m *moving) isLate() bool {
	return m != nil && context.Cause(m.ctx) == context.DeadlineExceeded //nolint:errorlint // as begin set it
}
