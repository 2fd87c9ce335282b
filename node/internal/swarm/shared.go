package swarm

import (
	"context"
	"sync"
)

// Shared is what all downloads of a process share: the bytes that may be in
// flight and the workers that verify. Its zero value is not valid: see
// NewShared.
type Shared struct {
	workers chan struct{}
	budget  int64
	seats   int // downloads that may have something in flight; 0 for no bound

	mu     sync.Mutex
	stakes []*stake
}

// NewShared bounds the pieces in flight of the process to budget bytes and the
// pieces being verified to workers. Every download may have two pieces in flight
// whatever the others have; that may exceed the budget.
func NewShared(budget int64, workers int) *Shared {
	return &Shared{workers: make(chan struct{}, max(workers, 1)), budget: budget}
}

// NewQueue is NewShared for a process whose whole rate is limited: that of a
// piece under way must not become so low that its sender takes the connection
// for broken. At most so many downloads have pieces in flight; others wait in
// the order in which they began.
func NewQueue(budget int64, workers, downloads int) *Shared {
	s := NewShared(budget, workers)
	s.seats = max(downloads, 1)
	return s
}

// work runs f, which waits for nothing, when a worker is free. It returns false
// if the context ended first.
func (s *Shared) work(ctx context.Context, f func()) bool {
	select {
	case s.workers <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-s.workers }()
	if ctx.Err() != nil {
		return false
	}
	f()
	return true
}

// stake is one download's part of the budget. Between claim and settle it does
// not change, so that a loop never asks for bytes which were given to another
// meanwhile.
type stake struct {
	shared *Shared
	least  int64
	wake   chan struct{} // one slot: the grant has grown

	// These are guarded by shared.mu. What is used may exceed the grant after
	// that was cut.
	granted, used int64
	hungry        bool // could use more
	claimed       bool
	seated        bool // may have something in flight
}

// join adds a download that always, or while it has a seat, may have least
// bytes in flight.
func (s *Shared) join(least int64) *stake {
	k := &stake{shared: s, least: least, wake: make(chan struct{}, 1)}
	if s.seats == 0 {
		k.granted, k.seated = least, true
	}
	s.mu.Lock()
	s.stakes = append(s.stakes, k)
	s.mu.Unlock()
	return k
}

// leave gives everything back.
func (k *stake) leave() {
	k.shared.mu.Lock()
	list := k.shared.stakes
	for i, other := range list {
		if other == k {
			k.shared.stakes = append(list[:i], list[i+1:]...)
			break
		}
	}
	grown := k.shared.rebalance()
	k.shared.mu.Unlock()
	wake(grown)
}

// claim returns the bytes that may be in flight until settle.
func (k *stake) claim() int64 {
	k.shared.mu.Lock()
	defer k.shared.mu.Unlock()
	k.claimed = true
	return k.granted
}

// settle tells what is in flight, and whether more would be of use. It returns
// whether the download has to wait for a seat.
func (k *stake) settle(used int64, hungry bool) (queued bool) {
	k.shared.mu.Lock()
	k.used, k.hungry, k.claimed = used, hungry, false
	grown := k.shared.rebalance()
	queued = k.hungry && !k.seated
	k.shared.mu.Unlock()
	wake(grown)
	return queued
}

// wake tells stakes, without the lock, that their grants have grown.
func wake(grown []*stake) {
	for _, k := range grown {
		notify(k.wake)
	}
}

// rebalance gives seats, takes from downloads what they do not use, or have
// beyond an equal share, as far as others are hungry, and returns those whose
// grants have grown. What is in flight already counts until it is there, so a
// share may take a while to come free.
func (s *Shared) rebalance() (grown []*stake) {
	seated, grown := s.seat()
	var hungry, spare int64
	for _, k := range seated {
		if k.hungry {
			hungry++
		}
	}
	if hungry == 0 {
		return grown
	}
	equal := s.budget / int64(len(seated))
	spare = s.budget
	for _, k := range seated {
		if !k.hungry {
			spare -= min(k.used+k.least, equal)
		}
	}
	share := max(spare/hungry, equal)
	free := s.budget
	for _, k := range seated {
		target := share
		if !k.hungry {
			target = min(k.used+k.least, equal)
		}
		if !k.claimed && k.granted > max(target, k.least) {
			k.granted = max(target, k.least)
		}
		free -= max(k.granted, k.used)
	}
	for _, k := range seated {
		if k.hungry && !k.claimed && k.granted < share && free > 0 {
			more := min(share-k.granted, free)
			k.granted += more
			free -= more
			grown = append(grown, k)
		}
	}
	return grown
}

// seat takes the seats of downloads that have nothing in flight and want
// nothing, gives free ones to the hungry, and returns who has one, and of those
// who got it now.
func (s *Shared) seat() (seated, fresh []*stake) {
	if s.seats == 0 {
		return s.stakes, nil
	}
	taken := 0
	for _, k := range s.stakes {
		if k.seated && !k.claimed && k.used == 0 && !k.hungry {
			k.seated, k.granted = false, 0
		}
		if k.seated {
			taken++
		}
	}
	for _, k := range s.stakes {
		if !k.seated && !k.claimed && k.hungry && taken < s.seats {
			k.seated, k.granted = true, k.least
			fresh = append(fresh, k)
			taken++
		}
		if k.seated {
			seated = append(seated, k)
		}
	}
	return seated, fresh
}
