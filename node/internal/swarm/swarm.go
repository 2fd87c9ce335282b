// Package swarm runs one download: it owns a scheduler, feeds it what happens
// and carries out what it decides. The node makes one for each download. It
// knows peers and files through the small interfaces below, and neither
// protocols nor disks.
package swarm

import (
	"context"
	"sync/atomic"
	"time"

	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/protocol"
)

var log = logging.Logger("p2pshare/swarm")

// Link is an open stream to one peer. piece.Conn is one. No method blocks, and
// Close may be called more than once.
type Link interface {
	Request(piece int)
	Cancel(piece int)
	Renew(ticket []byte)
	RTT() time.Duration
	Close()
}

// File is where pieces go. filestore.Partial is one.
type File interface {
	Manifest() *protocol.Manifest
	Have() (complete bool, bits []byte)
	// Verify uses the processor alone.
	Verify(i int, data []byte) filestore.Verdict
	// Store writes a piece that Verify found good. It may take as long as the
	// disk does.
	Store(i int, data []byte) error
}

// Peer is a member that offers the file.
type Peer struct {
	ID   peer.ID
	User string
}

// Ban is a peer that sent bad pieces of the file.
type Ban struct {
	Peer  peer.ID
	Bad   int       // how often
	Last  time.Time // the last time
	Until time.Time // it is not asked before
}

// Config is what a Swarm needs.
type Config struct {
	File   File
	Shared *Shared
	// Dial opens a stream to a peer whose events go to sink. It may take long;
	// the context bounds the opening alone. If it returns an error, what sink
	// gets afterwards is ignored; otherwise a piece.Closed is the last.
	Dial func(ctx context.Context, p Peer, sink func(piece.Event)) (Link, error)
	// FindPeers asks for more peers; answers come through AddPeer. It must not
	// block. May be nil.
	FindPeers func()
	// OnProgress is told of changes, from the loop, a few times a second at
	// most unless a reason to wait comes or goes. It must not block. May be nil.
	OnProgress func(Progress)
	// Bans are of earlier runs; OnBan is told of each new one that is worth
	// remembering, from the loop. It must not block. May be nil.
	Bans  []Ban
	OnBan func(Ban)
	// Rate is the bytes per second that may arrive in all downloads of the
	// process together; 0 if there is no limit.
	Rate int64
	// Seed makes the random choices; equal seeds and events give equal effects.
	Seed uint64
}

// Swarm runs one download. Its methods are safe for concurrent use.
type Swarm struct {
	cfg      Config
	started  atomic.Bool
	progress atomic.Pointer[Progress]
	mail     *mailbox
}

// New returns a swarm that does nothing before Run.
func New(cfg Config) *Swarm {
	if cfg.FindPeers == nil {
		cfg.FindPeers = func() {}
	}
	if cfg.OnProgress == nil {
		cfg.OnProgress = func(Progress) {}
	}
	if cfg.OnBan == nil {
		cfg.OnBan = func(Ban) {}
	}
	s := &Swarm{cfg: cfg, mail: newMailbox()}
	s.progress.Store(newMeter(cfg.File, time.Time{}).snapshot(time.Time{}))
	return s
}

// Run fetches until all pieces are verified (nil), the context ends, it can
// never succeed (E_BAD_MANIFEST, E_BAD_DATA), or the file has taken no piece for
// a while and must be opened anew (E_STATE, E_PERM). It waits for its goroutines.
// Without peers, and while the disk is full or does not answer, it waits and
// says so in Progress.
// It may be called once.
func (s *Swarm) Run(ctx context.Context) error {
	if !s.started.CompareAndSwap(false, true) {
		return protocol.Errorf(protocol.CodeInternal, "this download was run before")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := newLoop(s)
	err := l.run(ctx)
	cancel()
	l.drain()
	l.publish(time.Now())
	return err
}

// AddPeer tells of a member that offers the file; known ones are harmless. It
// does not wait for the loop, and may be called before Run.
func (s *Swarm) AddPeer(p Peer) { s.mail.offer(p) }

// RemovePeer tells that a member does not offer it any more. An open stream is
// used as long as it lasts.
func (s *Swarm) RemovePeer(id peer.ID) { s.mail.withdraw(id) }

// Renew hands a fresh ticket to all open streams, and makes peers that refused
// the last one be asked again.
func (s *Swarm) Renew(ticket []byte) { s.mail.renew(ticket) }

// Progress returns the latest snapshot, without waiting for the loop.
func (s *Swarm) Progress() Progress { return *s.progress.Load() }
