package rogue

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/p2pshare/p2pshare/protocol/pb"
)

// workers is how many attackers act at the same time.
const workers = 32

// Crowd is many peers of one attacker.
type Crowd []*Peer

// NewCrowd opens n peers that only dial, by TCP.
func NewCrowd(t testing.TB, n int) Crowd {
	t.Helper()
	c := make(Crowd, n)
	each(n, func(i int) {
		key := NewKey(t)
		h, err := libp2p.New(
			libp2p.Identity(key), libp2p.NoListenAddrs, libp2p.DisableRelay(), libp2p.DisableMetrics(),
			libp2p.Transport(tcp.NewTCPTransport), libp2p.ResourceManager(&network.NullResourceManager{}),
		)
		if err != nil {
			t.Errorf("open peer %d of a crowd: %v", i, err)
			return
		}
		c[i] = &Peer{T: t, Host: h, Key: key}
	})
	t.Cleanup(func() { each(n, func(i int) { _ = c[i].Host.Close() }) })
	if t.Failed() {
		t.FailNow()
	}
	return c
}

func each(n int, do func(i int)) {
	var next atomic.Int64
	var running sync.WaitGroup
	for range min(n, workers) {
		running.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	running.Wait()
}

// Idle opens a connection of each peer, and says nothing on it. It returns how
// many were let in at first.
func (c Crowd) Idle(to peer.AddrInfo) int {
	var in atomic.Int64
	each(len(c), func(i int) {
		if c[i].Connect(to) == nil {
			in.Add(1)
		}
	})
	return int(in.Load())
}

// Streams opens n streams over all peers, says the first byte of a message on
// each, and leaves them. It returns how many could be opened.
func (c Crowd) Streams(to peer.AddrInfo, n int, id p2pproto.ID) int {
	var opened atomic.Int64
	each(len(c), func(i int) {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		c[i].Meet(to)
		for range n / len(c) {
			s, err := c[i].Host.NewStream(ctx, to.ID, id)
			if err != nil {
				continue
			}
			opened.Add(1)
			_, _ = s.Write([]byte{0x7f})
		}
	})
	return int(opened.Load())
}

// Logins tries n passwords for a user at once, and returns what came of each.
func (c Crowd) Logins(tracker peer.AddrInfo, n int, user string) (outcomes []error) {
	outcomes = make([]error, n)
	for _, p := range c {
		p.Use(tracker)
	}
	var running sync.WaitGroup
	for i := range n {
		p := c[i%len(c)]
		running.Go(func() {
			_, outcomes[i] = Do(p, p.At().Login, &pb.LoginRequest{Name: user, Password: "a wrong password", Device: "storm"})
		})
	}
	running.Wait()
	return outcomes
}
