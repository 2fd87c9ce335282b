package node_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"

	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"golang.org/x/time/rate"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

// stallHost is a host whose piece streams write so many bytes in all, and
// then stand still until released: what a test does meanwhile happens in the
// middle of a transfer for certain. With a pace it writes no faster.
type stallHost struct {
	libp2phost.Host
	pace    *rate.Limiter // bytes a second; nil: as fast as it can
	left    atomic.Int64
	release chan struct{} // closed: no limit any more
}

func (h *stallHost) SetStreamHandler(id p2pproto.ID, f network.StreamHandler) {
	if id == protocol.PieceProtocol {
		serve := f
		f = func(s network.Stream) {
			serve(&stallStream{Stream: s, host: h, gone: make(chan struct{})})
		}
	}
	h.Host.SetStreamHandler(id, f)
}

type stallStream struct {
	network.Stream
	host *stallHost
	once sync.Once
	gone chan struct{}
}

func (s *stallStream) Write(b []byte) (int, error) {
	if s.host.pace != nil {
		if err := s.host.pace.WaitN(context.Background(), len(b)); err != nil {
			return 0, err
		}
	}
	if s.host.left.Add(-int64(len(b))) < 0 {
		select {
		case <-s.host.release:
		case <-s.gone:
			return 0, errors.New("the stream was ended")
		}
	}
	return s.Stream.Write(b)
}

func (s *stallStream) Reset() error {
	s.once.Do(func() { close(s.gone) })
	return s.Stream.Reset()
}

func (s *stallStream) ResetWithError(code network.StreamErrorCode) error {
	s.once.Do(func() { close(s.gone) })
	return s.Stream.ResetWithError(code)
}

func (s *stallStream) Close() error {
	s.once.Do(func() { close(s.gone) })
	return s.Stream.Close()
}

// stalling is a user whose node stops to send after 2 MiB.
func (w *world) stalling(name string, opts ...node.Option) (*client, *stallHost) {
	w.Helper()
	h := &stallHost{Host: w.hostOf(name), release: make(chan struct{})}
	h.left.Store(2 << 20)
	return w.user(name, append(opts, node.WithHost(h))...), h
}

// paced is a user whose node sends so many bytes a second.
func (w *world) paced(name string, bytes int) *client {
	w.Helper()
	c, h := w.stalling(name)
	h.pace = rate.NewLimiter(rate.Limit(bytes), 1<<20)
	h.left.Store(math.MaxInt64)
	return c
}

// running starts a download of 8 MiB from a seeder that has come to a stop.
func (w *world) running(seeder, leecher *client) *node.Download {
	w.Helper()
	seeder.share("g", w.file("big.bin", 8<<20))
	d := leecher.begin("g", "big.bin")
	for p := range d.Updates() {
		if p.Done > 0 {
			break
		}
	}
	return d
}

// midTransfer is ada's group g, in which bob has a part of big.bin, and ada
// sends him no more of it until she is released.
func (w *world) midTransfer() (ada, bob *client, d *node.Download, release func()) {
	w.Helper()
	ada, seeding := w.stalling("ada")
	bob = w.user("bob")
	w.group("g", ada, bob)
	return ada, bob, w.running(ada, bob), func() { close(seeding.release) }
}
