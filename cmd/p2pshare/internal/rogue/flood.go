package rogue

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/netns"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// workers is how many attackers act at the same time.
const workers = 32

// Crowd is many peers of one attacker.
type Crowd []*Peer

// NewCrowd opens n peers on a host, which only dial: every other one by TCP, the
// rest by QUIC.
func NewCrowd(t testing.TB, from *netns.Host, n int) Crowd {
	t.Helper()
	c := make(Crowd, n)
	each(n, func(i int) {
		key, transport := NewKey(t), byTCP(from)
		if i%2 == 1 {
			transport = byQUIC(from)
		}
		h, err := libp2p.New(
			libp2p.Identity(key), libp2p.NoListenAddrs, libp2p.DisableRelay(), libp2p.DisableMetrics(),
			transport, libp2p.ResourceManager(&network.NullResourceManager{}),
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

func byTCP(from *netns.Host) libp2p.Option {
	return libp2p.Transport(tcp.NewTCPTransport, tcp.WithDialerForAddr(
		func(ma.Multiaddr) (tcp.ContextDialer, error) { return from, nil }))
}

func byQUIC(from *netns.Host) libp2p.Option {
	return libp2p.ChainOptions(
		libp2p.Transport(libp2pquic.NewTransport),
		libp2p.QUICReuse(quicreuse.NewConnManager, quicreuse.DisableReuseport(), quicreuse.OverrideListenUDP(from.ListenUDP)),
	)
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

// Idle opens a connection of each peer, and says nothing on it. It returns those
// that were let in at first.
func (c Crowd) Idle(to peer.AddrInfo) Crowd {
	in := make([]bool, len(c))
	each(len(c), func(i int) { in[i] = c[i].Connect(to) == nil })
	var inside Crowd
	for i, p := range c {
		if in[i] {
			inside = append(inside, p)
		}
	}
	return inside
}

// Streams opens n streams over all peers, writes to each until nothing more is
// taken or said is through, and leaves them. It returns how many could be opened.
func (c Crowd) Streams(to peer.AddrInfo, n int, id p2pproto.ID, said []byte) int {
	var opened atomic.Int64
	each(len(c), func(i int) {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		c[i].Meet(to)
		for range (n + len(c) - 1) / len(c) {
			s, err := c[i].Host.NewStream(ctx, to.ID, id)
			if err != nil {
				continue
			}
			opened.Add(1)
			_ = s.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			_, _ = s.Write(said)
		}
	})
	return int(opened.Load())
}

// Hangup resets all streams of the crowd.
func (c Crowd) Hangup() {
	each(len(c), func(i int) {
		for _, conn := range c[i].Host.Network().Conns() {
			for _, s := range conn.GetStreams() {
				_ = s.Reset()
			}
		}
	})
}

// Logins tries n passwords at once, each of another account, and returns what
// came of each.
func (c Crowd) Logins(tracker peer.AddrInfo, n int) (outcomes []error) {
	outcomes = make([]error, n)
	for _, p := range c[:min(len(c), n)] {
		p.Use(tracker)
	}
	var running sync.WaitGroup
	for i := range n {
		p := c[i%len(c)]
		running.Go(func() {
			req := &pb.LoginRequest{Name: fmt.Sprint("somebody-", i), Password: "a wrong password", Device: "storm"}
			_, outcomes[i] = Do(p, p.At().Login, req)
		})
	}
	running.Wait()
	return outcomes
}
