// Package replica turns a change into stamped, stored, merged and spread
// facts, and keeps the catalog of this tracker in step with the others. The
// service proposes through it and reads views; it knows nothing of users'
// rights. How it spreads is told in DESIGN.md beside it.
package replica

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

var log = logging.Logger("p2pshare/replica")

// Config is what a replica needs. Host and Store stay the caller's to close, after Close.
type Config struct {
	Host  host.Host
	Store store.Store
	// Roster is the other trackers of the list, with their addresses.
	Roster []peer.AddrInfo
	// NewNetwork is the id to begin a network with if the store has none and no
	// tracker that can be reached has one. All trackers that begin a network
	// together are given the same. Zero: wait for another tracker.
	NewNetwork protocol.NetworkID
	// BeginAfter is how long trackers that do not answer are waited for before
	// NewNetwork is begun without them; 3 s at least. One that answers and is part
	// of a network is waited for as long as it takes to catch up with it.
	BeginAfter time.Duration
	// OnChange gets facts that changed the catalog, after they are on disk, in
	// order, one call at a time. It must not block nor call Propose.
	OnChange func([]catalog.Fact)
	// OnPeer is told when another tracker comes or goes, one call at a time. It
	// must not block.
	OnPeer func(id peer.ID, connected bool)
	// Presence is the soft state that travels along; nil for none.
	Presence Presence
	// Now is the wall clock; nil for time.Now.
	Now func() time.Time
	// Interval between rounds of exchange with each tracker; default 3 s.
	Interval time.Duration
}

// defaultInterval is short enough for a lost hint to go unnoticed by people; a
// round between equal trackers costs less than a kilobyte.
const defaultInterval = 3 * time.Second

// Presence is the table of leases, as the replica sees it. Implemented by presence.Table.
type Presence interface {
	// Local returns the epoch and version of this tracker's leases and all of them.
	Local() *pb.PresenceList
	// Version is Local without the leases.
	Version() (epoch, version uint64)
	// Missed returns the changes of this tracker's leases behind a version; false if
	// the whole list is the better answer.
	Missed(epoch, version uint64) ([]*pb.PresenceDelta, bool)
	// Apply takes the whole list of another tracker.
	Apply(from string, list *pb.PresenceList)
	// CatchUp takes what another tracker's Missed returned, or a part of it from the
	// beginning; false if it does not follow what is known.
	CatchUp(from string, epoch uint64, deltas []*pb.PresenceDelta) bool
	// ApplyDelta takes a change; false if it does not follow what is known of from.
	ApplyDelta(from string, d *pb.PresenceDelta) bool
	// Known returns what of another tracker's leases is known here.
	Known(from string) (epoch, version uint64)
	// Held returns behind what another tracker is asked for changes, zero for its
	// whole list. It may be more than Known: of a tracker that was away.
	Held(from string) (epoch, version uint64)
}

// Proposal is a change. Build runs under the write lock, sees all changes
// before it, and returns what to write; its error refuses the change. It may
// run more than once: to find the names to reserve, and to write.
type Proposal struct {
	Build func(c *catalog.Catalog) ([]catalog.Draft, error)
	// Blobs are manifests to store with it.
	Blobs map[protocol.FileID][]byte
}

// Stored says where a change is.
type Stored struct {
	On       int // trackers that have it on disk, this one included
	Trackers int // of the roster, this one included
	Stamp    protocol.Stamp
}

// Replica is safe for concurrent use.
type Replica struct {
	cfg    Config
	self   peer.ID
	ctx    context.Context //nolint:containedctx // the lifetime of the background work
	cancel context.CancelFunc
	tasks  tasks
	clock  hybrid
	begun  time.Time

	state   state
	writer  *writer
	links   links
	names   reservations
	proofs  proofs
	later   quarantine
	refused refusals
	awaited *verifiers
	blobs   *blobs
	gossip  *gossip
	damage  atomic.Pointer[error] // see Err
	peers   chan struct{}         // wakes tellPeers; holds one
	notify  network.Notifiee      // told of connections, from Open to Close
	standing
}

// state is the catalog under its lock.
type state struct {
	mu  sync.RWMutex
	cat *catalog.Catalog
	// pending is what is merged but not on disk yet: it is shown to no tracker.
	pending map[catalog.Key]change
	// root is the digest of what is on disk: the catalog's without pending.
	root catalog.Digest
	// commit is closed when the commit that stores pending has ended; nil where
	// there is none.
	commit chan struct{}
	// undone counts how often the catalog went back to what is on disk.
	undone uint64
}

// ended tells those who wait for the commit that it has. The lock is held.
func (s *state) ended() {
	if s.commit != nil {
		close(s.commit)
		s.commit = nil
	}
}

// standing is whether this tracker is part of a network and serves it.
type standing struct {
	network atomic.Pointer[protocol.NetworkID]
	named   chan struct{} // closed once network is set
	ready   chan struct{} // closed once Ready is
	dropped atomic.Bool   // this tracker is not in the list itself
}

// Open loads the catalog from the store and starts to spread. It does not wait
// for other trackers; see Ready. Errors: E_STATE if the store is damaged.
func Open(cfg Config) (*Replica, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Interval <= 0 {
		cfg.Interval = defaultInterval
	}
	r := &Replica{cfg: cfg, self: cfg.Host.ID(), awaited: newVerifiers(), blobs: newBlobs(), peers: make(chan struct{}, 1), begun: time.Now()}
	r.clock.origin = r.self.String()
	r.named, r.ready = make(chan struct{}), make(chan struct{})
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.writer = newWriter(r)
	if err := r.load(); err != nil {
		r.cancel()
		return nil, err
	}
	r.cfg.Store = &guarded{Store: cfg.Store, whole: r.whole}
	if err := r.openGossip(); err != nil {
		r.cancel()
		return nil, fmt.Errorf("open gossip: %w", err)
	}
	r.tasks.run(r.writer.run)
	r.notify = r.notifiee()
	r.cfg.Host.Network().Notify(r.notify)
	r.cfg.Host.SetStreamHandler(p2pproto.ID(protocol.SyncProtocol), r.serveStream)
	r.SetRoster(cfg.Roster)
	for _, f := range []func(){
		r.tellPeers, r.gossip.publish, r.gossip.receive, r.fetchVerifiers, r.fetchMissing, r.maintain, r.settle,
	} {
		r.tasks.run(f)
	}
	return r, nil
}

// load makes the catalog from the store.
func (r *Replica) load() error {
	id, err := r.cfg.Store.Meta(metaNetwork)
	if err != nil {
		return fmt.Errorf("load network id: %w", err)
	}
	if id != nil {
		network, err := protocol.IDFromBytes[protocol.NetworkID](id)
		if err != nil {
			return &protocol.Error{Code: protocol.CodeState, Msg: "the network id in the catalog is damaged", Err: err}
		}
		r.setNetwork(network)
	}
	cat, err := r.readCatalog()
	if err != nil {
		return err
	}
	r.state.cat, r.state.root = cat, cat.Root().Digest
	return r.findMissing()
}

// readCatalog merges what the store holds into a fresh catalog, also what is from
// the future to a clock that was set back: it was in the catalog when it was
// stored, and a restart must not take it out. Nothing ends here: see expire.
func (r *Replica) readCatalog() (*catalog.Catalog, error) {
	cat, wall := catalog.New(), r.wall()
	err := r.cfg.Store.Records(func(rec store.Record) error {
		f, err := fromRecord(rec)
		if err == nil {
			_, err = cat.Merge(f)
		}
		if err != nil {
			return &protocol.Error{Code: protocol.CodeState, Msg: "a fact in the catalog is damaged", Err: err}
		}
		r.clock.observe(wall, f.Stamp)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load catalog: %w", err)
	}
	return cat, nil
}

// Close ends all background work and waits for it.
func (r *Replica) Close() error {
	if !r.tasks.close() {
		r.tasks.wait()
		return nil
	}
	r.cfg.Host.RemoveStreamHandler(p2pproto.ID(protocol.SyncProtocol))
	r.cfg.Host.Network().StopNotify(r.notify)
	r.cancel()
	r.links.stopAll()
	r.gossip.close()
	r.tasks.wait()
	return nil
}

// View runs f under the read lock. f must be short, and keep no reference into c.
// It may see what is not on disk yet; see OnDisk.
func (r *Replica) View(f func(c *catalog.Catalog)) {
	r.state.mu.RLock()
	defer r.state.mu.RUnlock()
	f(r.state.cat)
}

// Undone is to be read before a View whose end OnDisk waits for.
func (r *Replica) Undone() uint64 {
	r.state.mu.RLock()
	defer r.state.mu.RUnlock()
	return r.state.undone
}

// OnDisk waits until what earlier views have shown is on disk: for the commit that
// is under way, if there is one. E_BUSY if something was taken back since undone
// was read: the views may have shown that. E_BUSY too if the disk does not answer.
func (r *Replica) OnDisk(ctx context.Context, undone uint64) error {
	r.state.mu.RLock()
	commit := r.state.commit
	r.state.mu.RUnlock()
	if commit != nil {
		patience := time.NewTimer(hungAfter)
		defer patience.Stop()
		select {
		case <-commit:
		case <-patience.C:
			return errHangs()
		case <-ctx.Done():
			return ctx.Err()
		case <-r.ctx.Done():
			return errClosing()
		}
	}
	if r.Undone() != undone {
		return busy("the disk has refused a change meanwhile; ask again")
	}
	return nil
}

// Observe advances the clock to a stamp that a client has seen, to at most 2
// minutes ahead of the wall clock.
func (r *Replica) Observe(s protocol.Stamp) { r.clock.observe(r.wall(), s) }

// Now reads the clock.
func (r *Replica) Now() protocol.Stamp { return r.clock.now(r.wall()) }

// wall returns the wall clock, Unix milliseconds.
func (r *Replica) wall() int64 { return r.cfg.Now().UnixMilli() }

// maintain does what is due from time to time.
func (r *Replica) maintain() {
	tick := time.NewTicker(r.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
			r.releaseDue()
			r.expire()
			r.collectOrphans()
		}
	}
}
