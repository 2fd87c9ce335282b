// Package rogue speaks the project's protocols wrongly, for tests of what
// strangers, members and trackers with modified programs can do. Only tests
// import it. A Peer keeps to no limit and no rule; what it is for is the
// test's to say: it knows no node and no tracker but over the wire.
package rogue

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"

	"github.com/p2pshare/p2pshare/internal/calltest"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// Patience is how long a rogue waits for what should take well under a second.
const Patience = 20 * time.Second

// Password is what the accounts of rogues have.
const Password = "correct horse battery"

// Peer is one libp2p host without limits. Its fields are for one goroutine.
type Peer struct {
	T       testing.TB
	Host    libp2phost.Host
	Key     crypto.PrivKey
	Session []byte // envelope, nil before Login
	User    []byte // id

	at pb.TrackerServiceClient
}

// NewKey makes a key of the kind that peers have.
func NewKey(t testing.TB) crypto.PrivKey {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// New opens a peer with a key of its own on a free port of loopback.
func New(t testing.TB) *Peer {
	t.Helper()
	return Open(t, NewKey(t), "/ip4/127.0.0.1/tcp/0")
}

// Open is New for a key and addresses of the caller's choice, such as those of
// somebody else.
func Open(t testing.TB, key crypto.PrivKey, listen ...string) *Peer {
	t.Helper()
	h, err := libp2p.New(
		libp2p.Identity(key), libp2p.ListenAddrStrings(listen...), libp2p.DisableRelay(), libp2p.DisableMetrics(),
		libp2p.ResourceManager(&network.NullResourceManager{}),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return &Peer{T: t, Host: h, Key: key}
}

// Info is where others reach the peer.
func (p *Peer) Info() peer.AddrInfo { return peer.AddrInfo{ID: p.Host.ID(), Addrs: p.Host.Addrs()} }

// Meet tells the peer where somebody is.
func (p *Peer) Meet(other peer.AddrInfo) {
	p.Host.Peerstore().AddAddrs(other.ID, other.Addrs, peerstore.PermanentAddrTTL)
}

// Use makes a tracker the one that At speaks to.
func (p *Peer) Use(tracker peer.AddrInfo) *Peer {
	at, hangUp := calltest.Service(p.Host, tracker)
	p.T.Cleanup(hangUp)
	p.at = at
	return p
}

// At is the service of the tracker in use.
func (p *Peer) At() pb.TrackerServiceClient { return p.at }

// Do makes one call with the peer's session. Its error is what the tracker said.
func Do[Q, R any](p *Peer, call func(context.Context, *connect.Request[Q]) (*connect.Response[R], error), msg *Q) (*R, error) {
	ctx, cancel := context.WithTimeout(p.T.Context(), Patience)
	defer cancel()
	r, _, err := calltest.Do(ctx, p.Session, call, msg)
	return r, err
}

// Must is Do that ends the test.
func Must[Q, R any](p *Peer, call func(context.Context, *connect.Request[Q]) (*connect.Response[R], error), msg *Q) *R {
	p.T.Helper()
	r, err := Do(p, call, msg)
	if err != nil {
		p.T.Fatalf("%T: %v", msg, err)
	}
	return r
}
