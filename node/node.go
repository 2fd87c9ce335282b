// Package node is a client of a p2pshare network as a library: log in, share
// files in groups, fetch what others share, and serve it on. Programs use it,
// as does the client command. It talks to trackers over the wire only, prints
// nothing, and keeps no state outside of its data folder and its Nodes.
package node

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/node/internal/gate"
	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/node/internal/swarm"
	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	p2phost "github.com/p2pshare/p2pshare/protocol/host"
)

var log = logging.Logger("p2pshare/node")

// Node is one client. All methods are safe for concurrent use.
type Node struct {
	cfg      *config
	host     host.Host
	records  *records.Records
	gate     *gate.Gate
	server   *piece.Server
	trackers *trackers.Client
	swarms   *swarm.Shared
	buffers  *piece.Buffers // of all downloads
	incoming *piece.Limit   // of all downloads; nil for none
	events   bus
	names    names
	online   atomic.Bool // a tracker holds the lease of this client
	twin     bool        // a client with the same key has been told of; signal's alone

	ctx    context.Context //nolint:containedctx // the lifetime of the node: ends with Close
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	// changing is held, by a value in it, by whoever begins or ends a login.
	changing chan struct{}
	undo     []func() error // what Close does last, in reverse

	mu      sync.Mutex
	closed  bool
	account *account // who is logged in, nil for nobody
}

// New binds sockets and opens the data folder; it contacts nobody. Sharing and
// downloads of a session that was not logged out go on by themselves.
// Errors: E_CONFIG, E_LOCKED, E_PERM, E_ADDR_IN_USE, E_STATE.
func New(opts ...Option) (*Node, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, changing: make(chan struct{}, 1)}
	n.ctx, n.cancel = context.WithCancelCause(context.Background())
	if err := n.open(); err != nil {
		n.cancel(err)
		return nil, errors.Join(err, n.unwind())
	}
	n.trackers.Run()
	return n, nil
}

// open builds the node from the folder upwards.
func (n *Node) open() error {
	unlock, err := p2phost.Lock(n.cfg.dir)
	if err != nil {
		return err
	}
	n.undo = append(n.undo, unlock)
	if err := n.openHost(); err != nil {
		return err
	}
	if n.records, err = records.Open(n.cfg.dir); err != nil {
		return err
	}
	n.undo = append(n.undo, n.records.Close)
	if why := n.records.Damaged(); why != "" {
		n.tell(Event{Kind: "state", Text: why})
	}
	n.trackers, err = trackers.New(trackers.Config{
		Host: n.host, Entries: n.cfg.entries, ListName: n.cfg.listFile,
		PinFile: filepath.Join(n.cfg.dir, "known_trackers"),
		Store:   n.records, Confirm: n.cfg.confirm, Sink: n.signal, Now: n.cfg.now,
	})
	if err != nil {
		return err
	}
	n.undo = append(n.undo, n.trackers.Close)
	n.gate = gate.New(n.trackers.Trusted, n.cfg.grace)
	n.buffers = piece.NewBuffers(n.cfg.memory)
	n.swarms = n.cfg.shared()
	n.incoming = limit(n.cfg.downloadLimit)
	n.server = piece.NewServer(piece.ServerConfig{
		Host: n.host, Admit: n.admit, Now: n.trackers.Now, Limit: limit(n.cfg.uploadLimit),
	})
	n.undo = append(n.undo, n.server.Close)
	return n.resume()
}

func (n *Node) openHost() error {
	if n.cfg.host != nil {
		n.host = n.cfg.host
		return nil
	}
	key, _, err := p2phost.LoadKey(n.cfg.dir, true)
	if err != nil {
		return err
	}
	n.host, err = p2phost.New(p2phost.Options{Key: key, Listen: []ma.Multiaddr{n.cfg.listenAddr}})
	if err != nil {
		return err
	}
	n.undo = append(n.undo, n.host.Close)
	return nil
}

// Close ends everything and waits for it. It does not log out.
func (n *Node) Close() error {
	n.mu.Lock()
	again := n.closed
	n.closed = true
	n.mu.Unlock()
	if again {
		n.wg.Wait()
		return nil
	}
	n.cancel(errClosed)
	n.changing <- struct{}{} // a login under way ends first
	defer func() { <-n.changing }()
	if a := n.takeAccount(nil); a != nil {
		a.end(errClosed)
	}
	n.wg.Wait()
	return n.unwind()
}

func (n *Node) unwind() error {
	var errs []error
	for _, undo := range slices.Backward(n.undo) {
		errs = append(errs, undo())
	}
	n.undo = nil
	return errors.Join(errs...)
}

// spawn runs f unless the node is closed; Close waits for it.
func (n *Node) spawn(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.wg.Go(f)
	}
}

// ID returns the peer ID by which members and trackers know this client.
func (n *Node) ID() string { return n.host.ID().String() }

// Addrs returns where members reach this client, multiaddrs.
func (n *Node) Addrs() []string {
	var out []string
	for _, a := range n.host.Addrs() {
		out = append(out, a.String())
	}
	return out
}

var (
	errClosed    = protocol.Errorf(protocol.CodeSession, "the client was closed; it goes on when it starts again")
	errLoggedOut = protocol.Errorf(protocol.CodeSession, "logged out; it goes on at the next login")
	errNoSession = protocol.Errorf(protocol.CodeSession, "you are not logged in (any more); use login")
)

// current returns who is logged in. E_SESSION.
func (n *Node) current() (*account, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.account == nil {
		return nil, errNoSession
	}
	return n.account, nil
}

// Stored says where a change is. On < Trackers with other trackers connected is
// worth a notice.
type Stored struct {
	On, Trackers int
	// Already is set when the change had come true before.
	Already bool
}

// own is how this client reads credentials that it was given, without judging
// who signed them: seeders and trackers do that.
func (n *Node) own(network protocol.NetworkID) credential.Check {
	return credential.Check{
		Network: network, Remote: n.host.ID(), Now: n.trackers.Now(),
		Trusted: func(peer.ID) bool { return true },
	}
}
