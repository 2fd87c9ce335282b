package sim

import (
	"crypto/ed25519"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// netID is the network of every world.
var netID = protocol.NetworkID{1}

// world is some trackers in a bubble. Its methods are called by the
// one goroutine that plays the script; those of a member by any.
type world struct {
	t       *testing.T
	net     fabric
	members []*member
	model   *model
	rng     *rand.Rand // for what is not in the script: delays, keys
	serves  bool       // the trackers serve clients
	last    string     // what somebody waits for, and why not yet

	mu        sync.Mutex
	ids       []peer.ID // of members, for their acts
	everybody []*member // members, for those who are not the player
}

// all returns the trackers that there have been.
func (w *world) all() []*member {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.everybody)
}

// member is one tracker: what survives its restarts, and what does not.
type member struct {
	w      *world
	key    crypto.PrivKey
	id     peer.ID
	disk   *disk
	offset atomic.Int64 // of its clock, ns
	blank  bool         // was begun without the mark of a new network
	config func(*replica.Config)

	mu      sync.Mutex
	up      bool
	host    host.Host
	store   *handle
	replica *replica.Replica
	service *service // nil in worlds without clients
	roster  []peer.AddrInfo
}

// newWorld makes n trackers that know each other and none of which runs.
func newWorld(t *testing.T, n int, seed uint64) *world { return newWorldOver(t, newLAN(), n, seed) }

func newWorldOver(t *testing.T, over fabric, n int, seed uint64) *world {
	w := &world{t: t, net: over, model: newModel(), rng: rand.New(rand.NewPCG(seed, 2))}
	for range n {
		w.add()
	}
	t.Cleanup(func() {
		for _, m := range w.members {
			m.stop()
		}
		w.net.close()
	})
	return w
}

// add makes one more tracker, which is on nobody's list but its own yet.
func (w *world) add() *member {
	w.t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	binary.LittleEndian.PutUint64(seed, w.rng.Uint64())
	key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	m := &member{w: w, key: key, id: id, disk: newDisk(w.rng.Uint64())}
	w.members = append(w.members, m)
	w.mu.Lock()
	w.ids = append(w.ids, id)
	w.everybody = append(w.everybody, m)
	w.mu.Unlock()
	for _, m := range w.members {
		m.mu.Lock()
		m.roster = infos(w.members)
		m.mu.Unlock()
	}
	return m
}

func infos(members []*member) (out []peer.AddrInfo) {
	for _, m := range members {
		out = append(out, m.w.net.info(m.id))
	}
	return out
}

func (m *member) now() time.Time { return time.Now().Add(time.Duration(m.offset.Load())) }

// start runs a tracker over its disk.
func (m *member) start() {
	m.w.t.Helper()
	m.mu.Lock()
	up := m.up
	m.mu.Unlock()
	if up {
		return
	}
	st, err := m.w.net.open(m.key)
	if err != nil {
		m.w.t.Fatal(err)
	}
	db, err := m.disk.open()
	if err != nil {
		m.w.t.Fatal(err)
	}
	cfg := replica.Config{Host: st, Store: db, Roster: m.others(), Now: m.now}
	if !m.blank {
		cfg.NewNetwork = netID
	}
	if m.config != nil {
		m.config(&cfg)
	}
	var s *service
	if m.w.serves {
		s = m.newService(st, &cfg)
	}
	r, err := replica.Open(cfg)
	if err != nil {
		m.w.t.Fatalf("open a replica: %v", err)
	}
	if s != nil {
		s.serve(m.w.t, r)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.up, m.host, m.store, m.replica, m.service = true, st, db, r, s
}

func (m *member) others() []peer.AddrInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.roster), func(i peer.AddrInfo) bool { return i.ID == m.id })
}

// setRoster is the reading of a changed list.
func (m *member) setRoster(list []peer.AddrInfo) {
	m.mu.Lock()
	m.roster = list
	m.mu.Unlock()
	r := m.running()
	if r == nil {
		return
	}
	r.SetRoster(m.others())
	if m.service != nil {
		m.service.rpc.SetRoster(list)
	}
}

// running returns the replica, nil while it does not run.
func (m *member) running() *replica.Replica {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.up {
		return nil
	}
	return m.replica
}

// kill ends a tracker as a loss of power does: what is not on disk is gone.
func (m *member) kill() {
	m.disk.crash()
	m.stop()
}

// stop ends a tracker in order.
func (m *member) stop() {
	m.mu.Lock()
	up := m.up
	m.up = false
	m.mu.Unlock()
	if !up {
		return
	}
	if err := m.host.Close(); err != nil {
		m.w.t.Errorf("close a host: %v", err)
	}
	if m.service != nil {
		m.service.close()
	}
	if err := m.replica.Close(); err != nil {
		m.w.t.Errorf("close a replica: %v", err)
	}
	_ = m.store.Close()
}

// wipe empties the disk of a tracker that does not run. With it goes the mark
// of a new network.
func (m *member) wipe() {
	m.disk.restore(nil)
	m.blank = true
}

// onDisk is the catalog that a restart would find.
func (m *member) onDisk() *catalog.Catalog {
	m.w.t.Helper()
	return m.w.readDisk(m.disk.copied())
}

func (w *world) readDisk(log []store.Batch) *catalog.Catalog {
	w.t.Helper()
	mem, err := replay(log)
	if err != nil {
		w.t.Fatal(err)
	}
	c := catalog.New()
	err = mem.Records(func(r store.Record) error {
		f, err := factOf(r)
		if err == nil {
			_, err = c.Merge(f)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) start() {
	for _, m := range w.members {
		m.start()
	}
}

// cut separates some members from the others, until heal.
func (w *world) cut(some ...*member) {
	for _, a := range some {
		for _, b := range w.members {
			if !slices.Contains(some, b) {
				w.net.cut(a.id, b.id)
				w.net.cut(b.id, a.id)
			}
		}
	}
}

func (w *world) heal() {
	for _, a := range w.members {
		for _, b := range w.members {
			w.net.heal(a.id, b.id)
		}
	}
}

// await waits until something holds and returns how long it took; the test ends
// after limit.
func (w *world) await(what string, limit time.Duration, holds func() bool) time.Duration {
	w.t.Helper()
	begun := time.Now()
	for !holds() {
		if time.Since(begun) > limit {
			w.t.Fatalf("not within %v: %s\n%s", limit, what, w)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(begun)
}

// awaitReady waits until all that run serve and see each other.
func (w *world) awaitReady() {
	w.t.Helper()
	w.await("all serve and are connected", time.Minute, func() bool {
		live := w.live()
		return !slices.ContainsFunc(live, func(m *member) bool {
			r := m.running()
			return r.Serving() != nil || len(r.Connected()) != len(live)-1
		})
	})
}

// live returns those that run.
func (w *world) live() (out []*member) {
	for _, m := range w.members {
		if m.running() != nil {
			out = append(out, m)
		}
	}
	return out
}

func (m *member) root() (d catalog.Digest) {
	m.running().View(func(c *catalog.Catalog) { d = c.Root().Digest })
	return d
}

// equal reports whether all that run serve and have the same digest.
func (w *world) equal() bool {
	live := w.live()
	return !slices.ContainsFunc(live, func(m *member) bool {
		return m.running().Serving() != nil || m.root() != live[0].root()
	})
}
