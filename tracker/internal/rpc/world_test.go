package rpc_test

import (
	"crypto/rand"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	"github.com/p2pshare/p2pshare/tracker/internal/rpc"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
	"github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// world is one tracker over a store in memory, on loopback.
type world struct {
	t        *testing.T
	key      crypto.PrivKey
	host     libp2phost.Host
	info     peer.AddrInfo
	server   *rpc.Server
	replica  *replica.Replica
	presence *presence.Table

	mu  sync.Mutex
	log []rpc.Activity
}

// options of a world; zero values are what most tests want.
type options struct {
	limits map[string]string
	closed bool // registration
	now    func() time.Time
	// interval is the pace of exchange among several trackers.
	interval time.Duration
	// store goes between the replica and its store in memory.
	store func(store.Store) store.Store
	// realHashes cost what those of users do.
	realHashes bool
}

// cheapHashes keep tests from spending their time on Argon2id.
func cheapHashes() auth.HasherOptions {
	return auth.HasherOptions{Params: auth.Params{Memory: 64, Time: 1, Threads: 1}}
}

func newWorld(t *testing.T, o options) *world { return newWorlds(t, 1, o)[0] }

// newWorlds are the trackers of one network. If there are several, no gossip
// reaches any of them: what one learns of another it has asked for, or was
// asked to store.
func newWorlds(t *testing.T, n int, o options) []*world {
	t.Helper()
	return newWorldsOf(t, slices.Repeat([]options{o}, n)...)
}

// newWorldsOf is newWorlds for trackers that differ.
func newWorldsOf(t *testing.T, each ...options) []*world {
	t.Helper()
	n := len(each)
	worlds, roster := make([]*world, n), make([]peer.AddrInfo, n)
	for i := range worlds {
		worlds[i] = newHost(t)
		roster[i] = worlds[i].info
	}
	for i, w := range worlds {
		w.open(each[i], roster)
		if n > 1 {
			w.host.RemoveStreamHandler(protocol.GossipProtocol)
		}
	}
	for _, w := range worlds {
		w.replica.SetRoster(roster)
	}
	deadline, tick := time.After(trackertest.Timeout), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for _, w := range worlds {
		for len(w.replica.Connected()) < n-1 {
			select {
			case <-deadline:
				t.Fatal("the trackers do not meet")
			case <-tick.C:
			}
		}
	}
	return worlds
}

func newHost(t *testing.T) *world {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	listen, err := ma.NewMultiaddr("/ip4/127.0.0.1/tcp/0")
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(host.Options{Key: key, Listen: []ma.Multiaddr{listen}, MaxClients: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return &world{t: t, key: key, host: h, info: peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()}}
}

// open begins to serve.
func (w *world) open(o options, roster []peer.AddrInfo) {
	t := w.t
	t.Helper()
	if o.now == nil {
		o.now = time.Now
	}
	hashes := auth.HasherOptions{}
	if !o.realHashes {
		hashes = cheapHashes()
	}
	limits, err := auth.NewLimits(o.limits, o.now)
	if err != nil {
		t.Fatal(err)
	}
	w.presence = presence.New(presence.Config{Now: time.Now, OnChange: func(c []presence.Change) { w.server.OffersChanged(c) }})
	w.server = rpc.New(rpc.Config{
		Host: w.host, Key: w.key, Roster: roster, Presence: w.presence, Hasher: auth.NewHasher(hashes),
		Limits: limits, MaxClients: 100, MinPassword: 8, RegistrationClosed: o.closed, Log: w.note, Now: o.now,
	})
	var db store.Store = store.NewMem()
	if o.store != nil {
		db = o.store(db)
	}
	w.replica, err = replica.Open(replica.Config{
		Now: o.now, Host: w.host, Store: db, NewNetwork: protocol.NetworkID{1}, Presence: w.presence, Interval: o.interval,
		OnChange: w.server.FactsChanged, OnPeer: w.server.TrackerChanged,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.server.Close(); err != nil {
			t.Errorf("close server: %v", err)
		}
		if err := w.replica.Close(); err != nil {
			t.Errorf("close replica: %v", err)
		}
	})
	if err := w.server.Serve(w.replica); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.replica.Ready():
	case <-time.After(trackertest.Timeout):
		t.Fatal("the tracker does not get ready")
	}
}

func (w *world) note(a rpc.Activity) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, a)
}

func (w *world) activity() []rpc.Activity {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.log)
}

// client is one that talks to the tracker, not logged in.
func (w *world) client() *trackertest.Client { return trackertest.New(w.t).Use(w.info) }

// user is one that is logged in to an account made for it.
func (w *world) user(name string) *trackertest.Client { return w.client().Enter(name) }

// now is the time at which a ticket of the tracker is looked at.
func (w *world) now() time.Time { return time.Now() }
