// Package rpc is the service that clients call: it says who the caller is,
// whether the caller may do the thing, writes or views it through the replica,
// and pushes to the clients that are attached what concerns them. The tracker
// package owns it. All rights are checked here and nowhere else; how facts
// merge, spread and are stored it must not know.
package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/core/crypto"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/gostream"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
)

var log = logging.Logger("p2pshare/rpc")

// Config is what a Server needs. All fields but Log and Now are required.
type Config struct {
	Host libp2phost.Host
	Key  crypto.PrivKey
	// Roster is all trackers of the list, this one included, until SetRoster.
	// Their signatures count on sessions.
	Roster   []peer.AddrInfo
	Presence *presence.Table
	Hasher   *auth.Hasher
	Limits   *auth.Limits
	// MaxClients bounds the event streams open at once.
	MaxClients         int
	MinPassword        int
	RegistrationClosed bool
	// Log gets one line for each thing that a user did; nil: none. It must not block.
	Log func(Activity)
	Now func() time.Time // nil: time.Now
}

// Server is the tracker service. It is safe for concurrent use.
type Server struct {
	cfg      Config
	self     peer.ID
	roster   atomic.Pointer[trackerList]
	guard    *auth.Guard
	issuer   auth.Issuer
	activity *activityLog
	hub      *hub
	uploads  *places // for long manifests that a client sends
	fetches  *places // for manifests that another tracker sends
	shown    *shown

	replica *replica.Replica // set by Serve, before the first call
	http    *http.Server
	loops   sync.WaitGroup // accept loop and hub
	closing chan struct{}  // closed by Close

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup // handlers under way; added to while not closed
}

var _ pb.TrackerServiceHandler = (*Server)(nil)

// New returns a server that does not serve yet. FactsChanged and its like may
// be called from now on.
func New(cfg Config) *Server {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = func(Activity) {}
	}
	s := &Server{
		cfg: cfg, self: cfg.Host.ID(),
		guard:    auth.NewGuard(cfg.Limits.Rate(auth.LimitFailures), len(cfg.Roster), cfg.Now),
		issuer:   auth.Issuer{Key: cfg.Key, Now: cfg.Now},
		activity: newActivityLog(cfg.Log, cfg.Limits),
		uploads:  newPlaces(),
		fetches:  newPlaces(),
		shown:    newShown(),
		closing:  make(chan struct{}),
	}
	cfg.Limits.SetTrackers(len(cfg.Roster))
	s.roster.Store(s.newTrackerList(cfg.Roster))
	s.hub = newHub(s)
	return s
}

// Serve begins to answer, over r. It returns at once.
func (s *Server) Serve(r *replica.Replica) error {
	listener, err := gostream.Listen(s.cfg.Host, p2pproto.ID(protocol.TrackerProtocol))
	if err != nil {
		return fmt.Errorf("listen for clients: %w", err)
	}
	s.replica = r
	s.hub.loadRevoked()
	s.http = &http.Server{
		Handler: s.handler(),
		// Requests of clients are one write; a peer that takes longer holds a stream for nothing.
		ReadHeaderTimeout: 10 * time.Second,
		// Clients keep streams for the next call; an abandoned one ends with this.
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 16 << 10,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, remoteKey{}, remoteOf(c))
		},
		ErrorLog: quietLog(),
	}
	s.loops.Go(func() { s.hub.run() })
	s.loops.Go(func() {
		if err := s.http.Serve(doorman{listener, host.NewStrangers()}); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, context.Canceled) {
			log.Errorw("serve clients", "err", err)
		}
	})
	return nil
}

// Close ends all calls and waits for them, for about 3 s.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	s.mu.Unlock()
	s.hub.close()
	if s.http != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := s.http.Shutdown(ctx); err != nil {
			_ = s.http.Close() // resets the streams, which ends their calls
		}
	}
	s.calls.Wait()
	s.loops.Wait()
	return nil
}

// enter counts a handler in, unless the server is closed. The caller counts it out.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.calls.Add(1)
	}
	return !s.closed
}
