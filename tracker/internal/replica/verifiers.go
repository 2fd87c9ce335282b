package replica

import (
	"context"
	"sync"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

const (
	// verifierWait is how long a login waits for a verifier on its way.
	verifierWait = 2 * time.Second
	// verifierQueue is how many announcements may wait; more are dropped, and
	// the verifiers come by exchange.
	verifierQueue = 256
)

// verifiers are those that gossip has announced and that are fetched over the
// sync stream, where no third tracker can read them.
type verifiers struct {
	queue chan announcement

	mu      sync.Mutex
	waiting map[catalog.Key]chan struct{} // closed when it is here or given up
}

type announcement struct {
	from *link
	keys []string
}

func newVerifiers() *verifiers {
	return &verifiers{
		queue:   make(chan announcement, verifierQueue),
		waiting: map[catalog.Key]chan struct{}{},
	}
}

// expect notes that a verifier is on its way.
func (v *verifiers) expect(k catalog.Key) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.waiting[k] == nil {
		v.waiting[k] = make(chan struct{})
	}
}

// settle ends the waiting for keys.
func (v *verifiers) settle(keys []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, k := range keys {
		if c := v.waiting[catalog.Key(k)]; c != nil {
			close(c)
			delete(v.waiting, catalog.Key(k))
		}
	}
}

// arrived ends the waiting for those among facts.
func (v *verifiers) arrived(facts []catalog.Fact) {
	var keys []string
	for _, f := range facts {
		if catalog.IsVerifier(f.Key) {
			keys = append(keys, string(f.Key))
		}
	}
	v.settle(keys)
}

// of returns what to wait for before u's password is checked, nil for nothing.
func (v *verifiers) of(u protocol.UserID) <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.waiting[catalog.VerifierKey(u)]
}

// AwaitVerifier waits (2 s at most) for a verifier that gossip has announced
// and the sync stream not yet brought.
func (r *Replica) AwaitVerifier(ctx context.Context, u protocol.UserID) {
	c := r.awaited.of(u)
	if c == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, verifierWait)
	defer cancel()
	select {
	case <-c:
	case <-ctx.Done():
	case <-r.ctx.Done():
	}
}

// announced queues the verifiers that are news here, to be fetched from the
// tracker that told of them.
func (r *Replica) announced(from *link, ids []*pb.FactID) {
	var keys []string
	r.View(func(c *catalog.Catalog) {
		for _, id := range ids {
			k := catalog.Key(id.GetKey())
			s, err := fromStamp(id.GetStamp())
			if err != nil || !catalog.IsVerifier(k) {
				continue
			}
			if ours, ok := c.Get(k); !ok || ours.Stamp != s {
				keys = append(keys, id.GetKey())
			}
		}
	})
	if len(keys) == 0 {
		return
	}
	for _, k := range keys {
		r.awaited.expect(catalog.Key(k))
	}
	select {
	case r.awaited.queue <- announcement{from, keys}:
	default:
		r.awaited.settle(keys)
		from.nudge()
	}
}

// fetchVerifiers fetches what was announced.
func (r *Replica) fetchVerifiers() {
	for {
		select {
		case <-r.ctx.Done():
			return
		case a := <-r.awaited.queue:
			ctx, cancel := context.WithTimeout(r.ctx, verifierWait)
			err := r.fetch(ctx, a.from, a.keys)
			cancel()
			r.awaited.settle(a.keys)
			if err != nil {
				log.Infow("fetch password verifiers", "tracker", a.from.name, "err", err)
				a.from.nudge()
			}
		}
	}
}
