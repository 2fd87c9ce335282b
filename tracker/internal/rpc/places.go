package rpc

import (
	"context"
	"sync"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// placeCount bounds the memory of manifests that are held whole: 4 of at most
	// 16 MiB for each kind of places.
	placeCount = 4
	// placeWait is how long a call waits for a place.
	placeWait = 5 * time.Second
	// placeLife is how long a call may keep one.
	placeLife = time.Minute
)

// places are for manifests that are held whole. A user has one at a time, so
// that nobody keeps all of them from others.
type places struct {
	life time.Duration

	mu   sync.Mutex
	held map[protocol.UserID]struct{}
	back chan struct{} // closed when the next one is given back
}

func newPlaces() *places {
	return &places{life: placeLife, held: map[protocol.UserID]struct{}{}, back: make(chan struct{})}
}

// take waits for a place and returns until when it may be kept; give must
// follow. E_BUSY if there is none for u within placeWait.
func (p *places) take(ctx context.Context, u protocol.UserID) (until time.Time, err error) {
	timer := time.NewTimer(placeWait)
	defer timer.Stop()
	for {
		back, ok := p.try(u)
		if ok {
			return time.Now().Add(p.life), nil
		}
		select {
		case <-back:
		case <-timer.C:
			return until, noPlace("the tracker is busy with descriptions of files")
		case <-ctx.Done():
			return until, ctx.Err()
		}
	}
}

// try takes a place if there is one for u; else back is closed when one is given back.
func (p *places) try(u protocol.UserID) (back <-chan struct{}, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, has := p.held[u]; has || len(p.held) == placeCount {
		return p.back, false
	}
	p.held[u] = struct{}{}
	return nil, true
}

func (p *places) give(u protocol.UserID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.held, u)
	close(p.back)
	p.back = make(chan struct{})
}

func noPlace(why string) error {
	return &protocol.Error{Code: protocol.CodeBusy, RetryAfter: placeWait, Msg: why}
}
