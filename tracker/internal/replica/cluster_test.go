package replica_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/metrics"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// patience is how long a test waits for something that comes soon.
const patience = 10 * time.Second

// node is one tracker of a test: a host that can be cut off, a store that
// outlives it, and a replica.
type node struct {
	*replica.Replica
	t       testing.TB
	key     crypto.PrivKey
	id      peer.ID
	addr    ma.Multiaddr
	host    host.Host
	gate    *gate
	bytes   *metrics.BandwidthCounter
	store   store.Store
	config  func(*replica.Config)
	started bool

	mu      sync.Mutex
	changes []catalog.Fact
}

// gate refuses connections with some peers.
type gate struct {
	mu     sync.Mutex
	closed map[peer.ID]bool
}

func (g *gate) open(p peer.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.closed[p]
}

func (g *gate) InterceptPeerDial(p peer.ID) bool                 { return g.open(p) }
func (g *gate) InterceptAddrDial(p peer.ID, _ ma.Multiaddr) bool { return g.open(p) }
func (g *gate) InterceptAccept(network.ConnMultiaddrs) bool      { return true }
func (g *gate) InterceptSecured(_ network.Direction, p peer.ID, _ network.ConnMultiaddrs) bool {
	return g.open(p)
}
func (g *gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

// cluster makes n nodes that know each other and are not started yet.
func cluster(t testing.TB, n int) []*node {
	t.Helper()
	nodes := make([]*node, n)
	for i := range nodes {
		key, _, err := crypto.GenerateEd25519Key(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		nodes[i] = &node{
			t: t, key: key, store: store.NewMem(), gate: &gate{closed: map[peer.ID]bool{}}, bytes: metrics.NewBandwidthCounter(),
		}
		nodes[i].listen()
	}
	t.Cleanup(func() {
		for _, nd := range nodes {
			nd.stop()
		}
	})
	return nodes
}

// listen opens the host, at the same address as before if there was one.
func (nd *node) listen() {
	nd.t.Helper()
	at := ma.StringCast("/ip4/127.0.0.1/tcp/0")
	if nd.addr != nil {
		at = nd.addr
	}
	h, err := libp2p.New(libp2p.Identity(nd.key), libp2p.ListenAddrs(at), libp2p.DisableRelay(),
		libp2p.ConnectionGater(nd.gate), libp2p.BandwidthReporter(nd.bytes))
	if err != nil {
		nd.t.Fatal(err)
	}
	nd.host, nd.id, nd.addr = h, h.ID(), h.Addrs()[0]
}

func (nd *node) info() peer.AddrInfo {
	return peer.AddrInfo{ID: nd.id, Addrs: []ma.Multiaddr{nd.addr}}
}

// start opens the replica among others.
func (nd *node) start(newNetwork bool, others ...*node) {
	nd.t.Helper()
	if nd.host == nil {
		nd.listen()
	}
	cfg := replica.Config{
		Host: nd.host, Store: nd.store, Interval: 100 * time.Millisecond,
		OnChange: func(facts []catalog.Fact) {
			nd.mu.Lock()
			defer nd.mu.Unlock()
			nd.changes = append(nd.changes, facts...)
		},
	}
	if newNetwork {
		cfg.NewNetwork = protocol.NetworkID{1}
	}
	for _, o := range others {
		if o != nd {
			cfg.Roster = append(cfg.Roster, o.info())
		}
	}
	if nd.config != nil {
		nd.config(&cfg)
	}
	r, err := replica.Open(cfg)
	if err != nil {
		nd.t.Fatal(err)
	}
	nd.Replica, nd.started = r, true
}

// stop ends replica and host; the store stays.
func (nd *node) stop() {
	if nd.started {
		if err := nd.Close(); err != nil {
			nd.t.Errorf("close: %v", err)
		}
		nd.started = false
	}
	if nd.host != nil {
		_ = nd.host.Close()
		nd.host = nil
	}
}

// running makes n nodes of one network, all connected with each other.
func running(t testing.TB, n int) []*node {
	t.Helper()
	nodes := cluster(t, n)
	for _, nd := range nodes {
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	return nodes
}

func awaitConnected(t testing.TB, nodes ...*node) {
	t.Helper()
	for _, nd := range nodes {
		nd.awaitReady()
	}
	await(t, "all connected", func() bool {
		return !slices.ContainsFunc(nodes, func(nd *node) bool { return len(nd.Connected()) != len(nodes)-1 })
	})
}

func (nd *node) awaitReady() {
	nd.t.Helper()
	select {
	case <-nd.Ready():
	case <-time.After(patience):
		nd.t.Fatalf("not ready: %v", nd.Serving())
	}
}

// await waits until something holds.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", patience, what)
		case <-tick.C:
		}
	}
}

// cut separates nodes from others until heal.
func cut(some, others []*node) {
	for _, a := range some {
		for _, b := range others {
			a.block(b, true)
			b.block(a, true)
		}
	}
}

func heal(some, others []*node) {
	for _, a := range some {
		for _, b := range others {
			a.block(b, false)
			b.block(a, false)
		}
	}
}

func (nd *node) block(other *node, yes bool) {
	nd.gate.mu.Lock()
	nd.gate.closed[other.id] = yes
	nd.gate.mu.Unlock()
	if yes {
		_ = nd.host.Network().ClosePeer(other.id)
	}
}

func (nd *node) root() (d catalog.Digest) {
	nd.View(func(c *catalog.Catalog) { d = c.Root().Digest })
	return d
}

// syncBytes returns what went over sync streams, both ways.
func (nd *node) syncBytes() int64 {
	s := nd.bytes.GetBandwidthForProtocol(protocol.SyncProtocol)
	return s.TotalIn + s.TotalOut
}

func (nd *node) facts() (n int) {
	nd.View(func(c *catalog.Catalog) { n = c.Len() })
	return n
}

func awaitEqual(t testing.TB, nodes ...*node) {
	t.Helper()
	await(t, "equal catalogs", func() bool {
		return !slices.ContainsFunc(nodes, func(nd *node) bool { return nd.root() != nodes[0].root() })
	})
}

func (nd *node) propose(build func(c *catalog.Catalog) ([]catalog.Draft, error)) (replica.Stored, error) {
	return nd.Propose(nd.t.Context(), replica.Proposal{Build: build})
}

// must makes a change that has to succeed.
func (nd *node) must(build func(c *catalog.Catalog) []catalog.Draft) replica.Stored {
	nd.t.Helper()
	s, err := nd.propose(func(c *catalog.Catalog) ([]catalog.Draft, error) { return build(c), nil })
	if err != nil {
		nd.t.Fatal(err)
	}
	return s
}

var errNameTaken = &protocol.Error{Code: protocol.CodeExists, Msg: "taken"}

// register makes an account, as the service does.
func (nd *node) register(name string, id protocol.UserID) (replica.Stored, error) {
	return nd.propose(func(c *catalog.Catalog) ([]catalog.Draft, error) {
		if _, ok := c.User(id); ok {
			return nil, nil
		}
		ds := catalog.NewAccount(id, name, "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA")
		if slices.ContainsFunc(catalog.NameClaims(ds), c.ClaimHeld) {
			return nil, errNameTaken
		}
		return ds, nil
	})
}

func (nd *node) mustRegister(name string) protocol.UserID {
	nd.t.Helper()
	id := userID(name)
	if _, err := nd.register(name, id); err != nil {
		nd.t.Fatalf("register %s: %v", name, err)
	}
	return id
}

func (nd *node) hasUser(name string) (ok bool) {
	nd.View(func(c *catalog.Catalog) { _, ok = c.UserNamed(name) })
	return ok
}

func userID(name string) (id protocol.UserID) {
	copy(id[:], fmt.Sprintf("%-16s", name))
	return id
}

func groupID(i int) protocol.GroupID { return protocol.GroupID{0: byte(i), 1: byte(i >> 8), 15: 1} }

func codeOf(err error) protocol.Code { return protocol.CodeOf(err) }

func infos(nodes []*node) (out []peer.AddrInfo) {
	for _, nd := range nodes {
		out = append(out, nd.info())
	}
	return out
}

var errNoSpace = errors.New("no space left on device")
