package sim

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	"github.com/p2pshare/p2pshare/tracker/internal/rpc"
)

// service is what a tracker has besides its replica, put together as package
// tracker does, over a disk that forgets.
type service struct {
	presence *presence.Table
	rpc      *rpc.Server
	replica  atomic.Pointer[replica.Replica]
	stop     chan struct{}
	loops    sync.WaitGroup

	mu       sync.Mutex
	removals map[inGroup]time.Time // when news of one came last
}

// cheap makes hashes that cost nothing; what they are for is the same.
func cheap() *auth.Hasher {
	return auth.NewHasher(auth.HasherOptions{Params: auth.Params{Memory: 8, Time: 1, Threads: 1}})
}

// newService makes what is in front of a replica, and adds it to its config.
func (m *member) newService(h host.Host, cfg *replica.Config) *service {
	m.w.t.Helper()
	unlimited := map[string]string{}
	for _, k := range auth.Known() {
		unlimited[k.Name] = "off"
	}
	limits, err := auth.NewLimits(unlimited, time.Now)
	if err != nil {
		m.w.t.Fatal(err)
	}
	s := &service{stop: make(chan struct{}), removals: map[inGroup]time.Time{}}
	s.presence = presence.New(presence.Config{
		OnChange: func(changes []presence.Change) { s.rpc.OffersChanged(changes) },
		OnDelta: func(d *pb.PresenceDelta) {
			if r := s.replica.Load(); r != nil {
				r.SpreadPresence(d)
			}
		},
	})
	m.mu.Lock()
	list := slices.Clone(m.roster)
	m.mu.Unlock()
	s.rpc = rpc.New(rpc.Config{
		Host: h, Key: m.key, Roster: list, Presence: s.presence, Hasher: cheap(), Limits: limits,
		MaxClients: 100, MinPassword: 8, Now: m.now,
	})
	cfg.Presence = s.presence
	cfg.OnChange = func(facts []catalog.Fact) {
		s.note(facts)
		s.rpc.FactsChanged(facts)
	}
	cfg.OnPeer = func(id peer.ID, connected bool) {
		s.rpc.TrackerChanged(id, connected)
		if !connected {
			s.presence.TrackerGone(id.String())
		}
	}
	s.loops.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.presence.Sweep()
			case <-s.stop:
				return
			}
		}
	})
	return s
}

func (s *service) serve(t *testing.T, r *replica.Replica) {
	t.Helper()
	s.replica.Store(r)
	if err := s.rpc.Serve(r); err != nil {
		t.Fatal(err)
	}
}

// close comes after the end of the host, so that it tells nobody good-bye.
func (s *service) close() {
	close(s.stop)
	_ = s.rpc.Close()
	s.loops.Wait()
}

// note remembers when removals became known here.
func (s *service) note(facts []catalog.Fact) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range facts {
		if in, ok := removalOf(f.Key); ok {
			s.removals[in] = time.Now()
		}
	}
}

// newsSpan is how long something may still be said that was decided before news came.
const newsSpan = 2 * time.Second

// together reports whether two users are in one group, as far as this tracker
// knows, or were until a moment before at.
func (m *member) together(a, b protocol.UserID, at time.Time) (yes bool) {
	r, s := m.serving()
	if r == nil {
		return true // it is going down
	}
	r.View(func(c *catalog.Catalog) {
		for g := range c.Groups("") {
			yes = yes || s.within(c, g.ID, a, at) && s.within(c, g.ID, b, at)
		}
	})
	return yes
}

// within reports whether a user is a member, or was until a moment before at.
func (s *service) within(c *catalog.Catalog, g protocol.GroupID, u protocol.UserID, at time.Time) bool {
	if c.IsMember(g, u) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.removals[inGroup{g, u}]
	return ok && at.Sub(known) < newsSpan
}

// serving returns the parts of a tracker that runs, nil otherwise.
func (m *member) serving() (*replica.Replica, *service) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.up {
		return nil, nil
	}
	return m.replica, m.service
}
