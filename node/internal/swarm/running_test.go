package swarm_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node/internal/swarm"
)

// running is a swarm under way.
type running struct {
	*swarm.Swarm
	done   chan struct{}
	err    error
	cancel context.CancelFunc
}

// start runs a swarm over the peers of a world.
func start(t *testing.T, w *world, f *file, shared *swarm.Shared, change func(*swarm.Config)) *running {
	t.Helper()
	if shared == nil {
		shared = swarm.NewShared(64*pieceLength, 4)
	}
	cfg := swarm.Config{File: f, Shared: shared, Dial: w.dial, Seed: 1}
	if change != nil {
		change(&cfg)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{Swarm: swarm.New(cfg), done: make(chan struct{}), cancel: cancel}
	for _, id := range w.ids() {
		r.AddPeer(swarm.Peer{ID: id, User: "user-" + string(id)})
	}
	go func() {
		defer close(r.done)
		r.err = r.Run(ctx)
	}()
	t.Cleanup(cancel)
	return r
}

func (w *world) ids() []peer.ID {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ids []peer.ID
	for i := range 100 {
		if id := peer.ID(fmt.Sprint("p", i)); w.peers[id] != nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// finish waits for the end and checks what must hold after every download.
func (r *running) finish(t *testing.T, w *world, f *file, within time.Duration) {
	t.Helper()
	r.wait(t, within)
	if r.err != nil {
		t.Fatalf("run: %v", r.err)
	}
	p := r.Progress()
	if p.Have != p.Pieces || p.Done != p.Total || p.Reason != "" {
		t.Errorf("progress at the end: %+v", p)
	}
	if _, good := f.written(); good != p.Pieces {
		t.Errorf("pieces on disk: got %d, want %d", good, p.Pieces)
	}
	r.settled(t, w)
}

func (r *running) wait(t *testing.T, within time.Duration) {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(within):
		t.Fatalf("not finished within %v: %+v", within, r.Progress())
	}
}

// settled checks that nothing is left behind.
func (r *running) settled(t *testing.T, w *world) {
	t.Helper()
	if n := w.unreleased(); n != 0 {
		t.Errorf("%d buffers were not released", n)
	}
	for id, h := range w.peers {
		if n := h.open(); n != 0 {
			t.Errorf("%d links to %s are open", n, id)
		}
	}
}

// until waits for a condition on the progress.
func (r *running) until(t *testing.T, what string, within time.Duration, ok func(swarm.Progress) bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(r.Progress()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s within %v: %+v", what, within, r.Progress())
		}
	}
}

func (w *world) peak() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.most
}

func requests(w *world, f *file) (tried, asked int) {
	for _, h := range w.peers {
		asked += h.requests()
	}
	tried, _ = f.written()
	return tried, asked
}
