package dial_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/sec"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol/dial"
)

func newHost(t *testing.T, at string, more ...libp2p.Option) host.Host {
	t.Helper()
	h, err := libp2p.New(append(more, libp2p.ListenAddrStrings(at), libp2p.DisableRelay())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func addr(t *testing.T, text string) ma.Multiaddr {
	t.Helper()
	a, err := ma.NewMultiaddr(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var options = dial.Options{TCP: 5 * time.Second, Other: 5 * time.Second, Keep: time.Hour}

func TestConnect(t *testing.T) {
	a := newHost(t, "/ip4/127.0.0.1/tcp/0")
	b := newHost(t, "/ip4/127.0.0.1/tcp/0")
	c := newHost(t, "/ip4/127.0.0.1/tcp/0")
	quic := newHost(t, "/ip4/127.0.0.1/udp/0/quic-v1")
	gone := newHost(t, "/ip4/127.0.0.1/tcp/0")
	refused := gone.Addrs()[0]
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	silent := addr(t, "/ip4/127.0.0.1/udp/9/quic-v1")
	// A firewall ends what it does not like.
	wall, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer wall.Close()
	go func() {
		for {
			c, err := wall.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	walled := addr(t, fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", wall.Addr().(*net.TCPAddr).Port))

	began := time.Now()
	err = dial.Connect(t.Context(), a, gone.ID(), []ma.Multiaddr{refused, silent}, options)
	if !errors.Is(err, syscall.ECONNREFUSED) || time.Since(began) > options.Other {
		t.Errorf("refused: %v after %v", err, time.Since(began))
	}
	err = dial.Connect(t.Context(), a, gone.ID(), []ma.Multiaddr{b.Addrs()[0], silent}, options)
	if m, ok := errors.AsType[sec.ErrPeerIDMismatch](err); !ok || m.Actual != b.ID() {
		t.Errorf("somebody else: %v", err)
	}
	began = time.Now()
	err = dial.Connect(t.Context(), a, gone.ID(), []ma.Multiaddr{b.Addrs()[0], refused, silent}, options)
	if m, ok := errors.AsType[sec.ErrPeerIDMismatch](err); !ok || m.Actual != b.ID() || time.Since(began) > options.Other {
		t.Errorf("somebody else and a refusal: %v after %v", err, time.Since(began))
	}
	for _, other := range []ma.Multiaddr{refused, b.Addrs()[0]} {
		q := newHost(t, "/ip4/127.0.0.1/udp/0/quic-v1")
		if err := dial.Connect(t.Context(), a, q.ID(), append(q.Addrs(), other, walled), options); err != nil {
			t.Errorf("over QUIC, nobody of several at %v: %v", other, err)
		}
	}
	if err := dial.Connect(t.Context(), a, c.ID(), append(c.Addrs(), silent), options); err != nil {
		t.Errorf("over TCP: %v", err)
	}
	if err := dial.Connect(t.Context(), a, c.ID(), nil, options); err != nil {
		t.Errorf("connected already: %v", err)
	}
	if err := dial.Connect(t.Context(), a, quic.ID(), quic.Addrs(), options); err != nil {
		t.Errorf("over QUIC: %v", err)
	}
	if known := a.Peerstore().Addrs(gone.ID()); len(known) != 3 {
		t.Errorf("kept %v", known)
	}
}

// A peer that was away is reached as soon as it is back: libp2p would wait for
// seconds after a refusal, and for minutes after some of them.
func TestReachedWhenItIsBack(t *testing.T) {
	a := newHost(t, "/ip4/127.0.0.1/tcp/0")
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	away := newHost(t, "/ip4/127.0.0.1/tcp/0", libp2p.Identity(key))
	id, at := away.ID(), away.Addrs()
	if err := away.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := dial.Connect(t.Context(), a, id, at, options); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("away: %v, want that it is asked and refuses", err)
		}
	}
	newHost(t, at[0].String(), libp2p.Identity(key))
	if err := dial.Connect(t.Context(), a, id, at, options); err != nil {
		t.Errorf("back: %v", err)
	}
}
