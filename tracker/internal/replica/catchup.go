package replica

import (
	"context"
	"sync"
	"time"
)

const (
	// catchUpCap is how long a caller waits for what other trackers may know:
	// a round between two that are there takes milliseconds.
	catchUpCap = time.Second
	// retryLevel is the pace at which roots are compared again.
	retryLevel = 50 * time.Millisecond
)

// CatchUp takes over what the trackers that are there have and this one lacks,
// as far as that takes no longer than a second. Whoever comes here from another
// tracker finds then what was done there, also where gossip was lost. Callers
// at one time share a round.
func (r *Replica) CatchUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, catchUpCap)
	defer cancel()
	r.attemptAll(ctx, r.links.prompt())
}

// attemptAll has the loops of links make an attempt that begins now, and waits
// for the end of all of them or of ctx.
func (r *Replica) attemptAll(ctx context.Context, links []*link) {
	var wg sync.WaitGroup
	for _, l := range links {
		wg.Go(func() {
			done := make(chan struct{})
			select {
			case l.asks <- done:
			case <-ctx.Done():
				return
			case <-r.ctx.Done():
				return
			}
			select {
			case <-done:
			case <-ctx.Done():
			case <-r.ctx.Done():
			}
		})
	}
	wg.Wait()
}

// alsoAsked takes all who wait for an attempt besides first: one is enough for them.
func (l *link) alsoAsked(first chan struct{}) []chan struct{} {
	all := []chan struct{}{first}
	for {
		select {
		case more := <-l.asks:
			all = append(all, more)
		default:
			return all
		}
	}
}

// level returns 1 if another tracker that is there has on disk what this one
// has, else 0. That is known, but for changes that are being confirmed, which it
// waits for. Where it is not, roots are compared; they differ while changes are on
// their way, so that is tried again and again for a second.
func (r *Replica) level(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, catchUpCap)
	defer cancel()
	tick := time.NewTicker(retryLevel)
	defer tick.Stop()
	for {
		links := r.links.prompt()
		if len(links) == 0 {
			return 0
		}
		if r.proofs.wait(ctx, r.ctx.Done()) {
			return 1
		}
		var wg sync.WaitGroup
		for _, l := range links {
			wg.Go(func() {
				if _, _, err := r.greet(ctx, l); err != nil {
					log.Debugw("compare roots", "tracker", l.name, "err", err)
				}
			})
		}
		wg.Wait()
		if r.proofs.wait(ctx, r.ctx.Done()) {
			return 1
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0
		case <-r.ctx.Done():
			return 0
		}
	}
}
