package tracker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/core/crypto"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/lan"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	"github.com/p2pshare/p2pshare/tracker/internal/rpc"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

var log = logging.Logger("p2pshare/tracker")

const (
	defaultMaxClients = 1000
	// maxClients leaves room for the leases of those who have just left.
	maxClients         = protocol.MaxLeases / 2
	defaultMinPassword = 8
	// closeTimeout is how long Close waits before it reports what hangs.
	closeTimeout = 5 * time.Second
	// sweep is the pace at which leases are looked at, and at which a change of
	// whether this tracker serves is noticed.
	sweep = time.Second
	// settling is how long a start may take before it is worth a warning: the
	// replica tries to reach the others for 3 s.
	settling = 4 * time.Second
)

// Tracker is one replica of a network, serving clients. It is safe for concurrent use.
type Tracker struct {
	cfg      Config
	own      roster.Entry
	addr     string
	list     atomic.Pointer[[]roster.Entry]
	listMu   sync.Mutex // one change of the list at a time
	unlock   func() error
	host     libp2phost.Host
	store    store.Store
	presence *presence.Table
	replica  *replica.Replica
	rpc      *rpc.Server

	stop  chan struct{}
	ready chan struct{} // closed once it serves and the mark of a new network is gone
	loops sync.WaitGroup
	close func() error // once
	hush  func()       // ends the announcement; set by awaitReady, read after loops have ended
}

// New opens folder, host and catalog, and begins to serve once in step with
// the others: see Ready. Errors: E_CONFIG, E_LOCKED, E_PERM, E_ADDR_IN_USE, E_STATE.
func New(cfg Config) (*Tracker, error) {
	if cfg.MaxClients <= 0 {
		cfg.MaxClients = defaultMaxClients
	}
	if cfg.MaxClients > maxClients {
		return nil, protocol.Errorf(protocol.CodeConfig, "%d clients at one tracker: at most %d", cfg.MaxClients, maxClients)
	}
	if cfg.MinPassword <= 0 {
		cfg.MinPassword = defaultMinPassword
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	limits, err := auth.NewLimits(cfg.Limits, time.Now)
	if err != nil {
		return nil, err
	}
	if cfg.Number < 1 || cfg.Number > len(cfg.Trackers) {
		return nil, protocol.Errorf(protocol.CodeConfig, "there is no tracker number %d; the list has 1 to %d", cfg.Number, len(cfg.Trackers))
	}
	list, err := checkList(cfg.Trackers)
	if err != nil {
		return nil, err
	}
	own := cfg.Trackers[cfg.Number-1]
	cfg.Trackers = slices.Clone(cfg.Trackers)
	key, err := ownKey(cfg.Dir, own)
	if err != nil {
		return nil, err
	}
	t := &Tracker{cfg: cfg, own: own, stop: make(chan struct{}), ready: make(chan struct{})}
	t.list.Store(&cfg.Trackers)
	t.close = sync.OnceValue(t.shut)
	if err := t.open(key, own, list, limits); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	t.loops.Go(t.run)
	t.loops.Go(t.awaitReady)
	return t, nil
}

// ownKey reads the key of the folder, which must be the one of the entry.
func ownKey(dir string, own roster.Entry) (crypto.PrivKey, error) {
	key, _, err := host.LoadKey(dir, false)
	if errors.Is(err, protocol.ErrNotFound) {
		return nil, protocol.Errorf(protocol.CodeConfig,
			"there is no key of a tracker in %s; p2pshare tracker init makes it together with the list", protocol.Quote(dir))
	}
	if err != nil {
		return nil, err
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("read the key in %s: %w", dir, err)
	}
	if id != own.ID {
		return nil, protocol.Errorf(protocol.CodeConfig,
			"the key in %s belongs to %s, but the list names %s as tracker %d", protocol.Quote(dir), id, own.ID, own.Number)
	}
	return key, nil
}

// open makes the parts in the order in which they need each other. On an error
// Close takes down what is there.
func (t *Tracker) open(key crypto.PrivKey, own roster.Entry, list []peer.AddrInfo, limits *auth.Limits) (err error) {
	if t.unlock, err = host.Lock(t.cfg.Dir); err != nil {
		return err
	}
	if t.cfg.NewNetwork.IsZero() {
		if t.cfg.NewNetwork, err = readMark(t.cfg.Dir); err != nil {
			return err
		}
	}
	if err := t.openHost(key, own); err != nil {
		return err
	}
	db, err := store.OpenBolt(filepath.Join(t.cfg.Dir, "catalog.db"))
	if err != nil {
		return err
	}
	t.store = db
	// The table and the service are told of changes by the replica, and the
	// replica carries the table: one of them has to be named before it is there.
	var late atomic.Pointer[replica.Replica]
	var service *rpc.Server
	t.presence = presence.New(presence.Config{
		Now:      time.Now,
		OnChange: func(changes []presence.Change) { service.OffersChanged(changes) },
		OnDelta: func(d *pb.PresenceDelta) {
			if r := late.Load(); r != nil {
				r.SpreadPresence(d)
			}
		},
	})
	service = rpc.New(rpc.Config{
		Host: t.host, Key: key, Roster: list, Presence: t.presence,
		Hasher: auth.NewHasher(auth.HasherOptions{}), Limits: limits,
		MaxClients: t.cfg.MaxClients, MinPassword: t.cfg.MinPassword, RegistrationClosed: t.cfg.RegistrationClosed,
		Log: t.forward, Now: t.cfg.Now,
	})
	t.rpc = service
	t.replica, err = replica.Open(replica.Config{
		Host: t.host, Store: db, Roster: withoutSelf(list, own.ID),
		NewNetwork: t.cfg.NewNetwork, BeginAfter: beginAfter(t.cfg.Dir),
		OnChange: service.FactsChanged,
		OnPeer: func(id peer.ID, connected bool) {
			service.TrackerChanged(id, connected)
			if !connected {
				t.presence.TrackerGone(id.String())
			}
		},
		Presence: t.presence,
		Now:      t.cfg.Now,
	})
	if err != nil {
		return err
	}
	late.Store(t.replica)
	t.note(Activity{What: "started", Peer: own.ID.String(), Result: "ok", Detail: t.addr})
	return service.Serve(t.replica)
}

func (t *Tracker) openHost(key crypto.PrivKey, own roster.Entry) (err error) {
	t.addr = roster.Format(own.Addr, own.ID)
	if t.host = t.cfg.Host; t.host != nil {
		if id := t.host.ID(); id != own.ID {
			return protocol.Errorf(protocol.CodeConfig, "the host is %s, but the list names %s as tracker %d", id, own.ID, own.Number)
		}
		return nil
	}
	listen := own.Addr
	if t.cfg.Listen != "" {
		if listen, _, err = roster.ParseAddr(t.cfg.Listen); err != nil {
			return err
		}
	}
	t.host, err = host.New(host.Options{Key: key, Listen: []ma.Multiaddr{listen}, MaxClients: t.cfg.MaxClients})
	if t.cfg.Listen == "" && errors.Is(err, syscall.EADDRNOTAVAIL) {
		return protocol.Errorf(protocol.CodeConfig, "%w; if it is an address from which others are led here, say what to bind (--listen 0.0.0.0:PORT)", err)
	}
	return err
}

// awaitReady takes the mark of a new network away once it is used up.
func (t *Tracker) awaitReady() {
	select {
	case <-t.replica.Ready():
	case <-t.stop:
		return
	}
	err := dropMark(t.cfg.Dir)
	if err != nil {
		log.Errorw("a wiped disk would begin the network afresh", "err", err)
		t.note(Activity{What: "mark", Result: string(protocol.CodeOf(err)), Detail: err.Error(), Warn: true})
	}
	if t.cfg.Announce {
		if t.hush, err = lan.Announce(t.host); err != nil {
			// It is a convenience, and many machines have no such network.
			t.note(Activity{What: "announce", Result: "failed", Detail: err.Error()})
		}
	}
	close(t.ready)
}

// Close flushes and ends everything, and waits for it, 5 s at most.
func (t *Tracker) Close() error { return t.close() }

func (t *Tracker) shut() error {
	close(t.stop)
	done := make(chan error, 1)
	go func() { done <- t.closeParts() }()
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("close tracker: %w", context.DeadlineExceeded)
	}
}

// closeParts goes from the outside in, so that nothing is used after its end.
func (t *Tracker) closeParts() error {
	var errs []error
	note := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", what, err))
		}
	}
	if t.rpc != nil {
		note("service", t.rpc.Close())
	}
	t.loops.Wait()
	if t.hush != nil {
		t.hush()
	}
	if t.replica != nil {
		note("replica", t.replica.Close())
	}
	if t.store != nil {
		note("catalog", t.store.Close())
	}
	if t.host != nil && t.host != t.cfg.Host {
		note("host", t.host.Close())
	}
	if t.unlock != nil {
		note("folder", t.unlock())
	}
	if t.replica != nil {
		t.note(Activity{What: "stopped", Result: "ok"})
	}
	return errors.Join(errs...)
}
