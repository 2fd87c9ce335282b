package replica

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"time"

	"github.com/libp2p/go-libp2p/core/peerstore"

	"github.com/p2pshare/p2pshare/protocol/dial"
)

const (
	// dialTimeout bounds one try to connect over one transport; both together
	// take as long as a start waits.
	dialTimeout = settleCap / 2
	// roundTimeout bounds the time a tracker takes to answer the beginning of a
	// round; the exchange behind it has deadlines of its own.
	roundTimeout = 3 * time.Second
	// maxFailures is how many rounds in a row may run out of time before the
	// connection is given up: a cut cable shows in no other way for long.
	maxFailures = 2
	// firstRetry is about how long the first pause after a connection that failed
	// is. Two trackers that dial each other in the same instant, from the ports
	// they listen on, both fail: TCP makes one connection of the two, of which each
	// believes that it has begun it. So pauses begin short, and none is like another.
	firstRetry = 50 * time.Millisecond
)

// runLink connects to a tracker and goes through rounds with it until ctx ends.
// It is a loop of its own since libp2p waits up to five minutes between tries.
func (r *Replica) runLink(ctx context.Context, l *link) {
	// A nudged round comes at once, but not more often than this.
	gap := min(r.cfg.Interval/4, 500*time.Millisecond)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last time.Time
	retry := firstRetry
	for {
		var asked []chan struct{}
		select {
		case <-ctx.Done():
			return
		case first := <-l.asks:
			asked = l.alsoAsked(first)
		case <-l.nudges:
			if wait := gap - time.Since(last); wait > 0 {
				timer.Reset(wait)
				continue
			}
		case <-timer.C:
		}
		there := r.attempt(ctx, l)
		last = time.Now()
		for _, done := range asked {
			close(done)
		}
		if there {
			retry = firstRetry
			timer.Reset(r.cfg.Interval)
			continue
		}
		timer.Reset(min(retry/2+rand.N(retry), r.cfg.Interval))
		retry = min(2*retry, r.cfg.Interval)
	}
}

// attempt connects if need be, and goes through one round. It reports whether
// there is a connection.
func (r *Replica) attempt(ctx context.Context, l *link) bool {
	if err := r.connect(ctx, l); err != nil {
		l.away()
		r.lost(l)
		log.Debugw("connect", "tracker", l.name, "err", err)
		return false
	}
	r.exchange(ctx, l)
	return true
}

// exchange greets a tracker that is connected, and goes through one round.
func (r *Replica) exchange(ctx context.Context, l *link) {
	before := l.timesHeard()
	root, hello, err := r.greet(ctx, l)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		log.Debugw("greet", "tracker", l.name, "err", err)
		if l.timesHeard() != before {
			l.nudge() // it has asked us meanwhile: it refused before it knew this one
			return
		}
		if errors.Is(err, errQueued) {
			return // it was not asked
		}
		r.noteRefusal(l, err)
		r.unanswered(l, isTimeout(err))
		return
	}
	l.mu.Lock()
	l.failures = 0
	l.mu.Unlock()
	if l.isStalled() {
		l.probe()
	}
	if err := r.round(ctx, l, root, hello); err != nil && ctx.Err() == nil {
		log.Infow("round of exchange", "tracker", l.name, "err", err)
	}
}

// unanswered draws the conclusion from a greeting without an answer. One that
// was refused means that there is no tracker now; one that ran out of time may
// be a busy one, or a cable that is cut.
func (r *Replica) unanswered(l *link, timeout bool) {
	if !timeout {
		r.lost(l)
		return
	}
	l.mu.Lock()
	l.late = true
	l.failures++
	dead := l.failures >= maxFailures
	if dead {
		l.failures = 0
	}
	l.mu.Unlock()
	if !dead {
		return
	}
	r.lost(l)
	if err := r.cfg.Host.Network().ClosePeer(l.id); err != nil {
		log.Debugw("close a dead connection", "tracker", l.name, "err", err)
	}
}

func isTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

func (r *Replica) connect(ctx context.Context, l *link) error {
	return dial.Connect(ctx, r.cfg.Host, l.id, l.info.Addrs,
		dial.Options{TCP: dialTimeout, Other: dialTimeout, Keep: peerstore.PermanentAddrTTL})
}
