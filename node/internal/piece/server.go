package piece

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node/internal/gate"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

// Content is a file that may be served, whole or growing. Its methods are safe
// for concurrent use.
type Content interface {
	Manifest() *protocol.Manifest
	// Have returns the pieces that may be served now: complete, or a bitfield
	// as the wire has it (bit 7 of byte 0 is piece 0). The slice is the caller's.
	Have() (complete bool, bits []byte)
	// Subscribe calls f for each piece that is added from now on, until cancel
	// returns. f must not block.
	Subscribe(f func(piece int)) (cancel func())
	// ReadAt reads from the file. E_SOURCE_CHANGED, E_NOT_FOUND: it is withdrawn.
	ReadAt(p []byte, off int64) (int, error)
}

// ServerConfig is what a Server needs.
type ServerConfig struct {
	Host libp2phost.Host
	// Admit decides about a stream before anything is said about the file:
	// checks the ticket, finds the content. Every refusal looks the same to the
	// other side except E_SESSION: an expired but otherwise genuine ticket. It
	// is asked again for a renewed ticket, and for the last one when the grant
	// expires. The context ends after protocol.OpenTimeout, or with the Server.
	Admit func(ctx context.Context, remote peer.ID, ticket []byte, file protocol.FileID) (gate.Grant, Content, error)
	// Slots bounds pieces being sent at once; default and most is
	// protocol.MaxUploadSlots. So many are used only while it makes the whole faster.
	Slots int
	// Limit bounds what is sent; nil for no bound.
	Limit *Limit
	// Now is the wall clock; nil for time.Now.
	Now func() time.Time

	timing timing
}

// Server serves streams of protocol.PieceProtocol until Close.
type Server struct {
	cfg   ServerConfig
	turns *turns
	// width and beginning are known to watch alone.
	width     *width
	beginning *beginning
	// chunks holds *[headerRoom+chunk]byte, one for each piece being sent.
	chunks    sync.Pool
	sent      atomic.Int64
	strangers *host.Strangers
	// revision counts calls of CloseWhere, so that a grant made while one was
	// under way is asked for again.
	revision atomic.Uint64

	life    context.Context //nolint:containedctx // ends with Close
	end     context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	opened  uint64 // streams so far
	uploads map[*upload]struct{}
	perPeer map[peer.ID]int
}

// newServer makes a server that no host knows.
func newServer(cfg ServerConfig) *Server {
	if cfg.Slots <= 0 || cfg.Slots > protocol.MaxUploadSlots {
		cfg.Slots = protocol.MaxUploadSlots
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.timing = cfg.timing.orDefaults()
	most := cfg.Limit.slots(cfg.Slots)
	s := &Server{
		cfg:     cfg,
		width:   newWidth(most, cfg.Limit.rate()),
		turns:   newTurns(most, gentle),
		chunks:  sync.Pool{New: func() any { return new([headerRoom + chunk]byte) }},
		uploads: map[*upload]struct{}{},
		perPeer: map[peer.ID]int{},

		beginning: newBeginning(),
		strangers: host.NewStrangers(),
	}
	s.turns.resize(s.width.slots)
	s.life, s.end = context.WithCancel(context.Background())
	s.running.Go(s.watch)
	return s
}

// NewServer sets the stream handler.
func NewServer(cfg ServerConfig) *Server {
	s := newServer(cfg)
	cfg.Host.SetStreamHandler(protocol.PieceProtocol, func(st network.Stream) {
		visit, ok := s.strangers.Enter(st.Conn())
		if !ok {
			_ = st.Conn().Close()
			return
		}
		defer visit.Leave()
		s.serve(st, st.Conn().RemotePeer(), visit.Known)
	})
	return s
}

// CloseWhere ends the streams whose grant matches, now, in the middle of a
// piece if need be. A stream that is being opened meanwhile is admitted anew.
func (s *Server) CloseWhere(match func(gate.Grant, protocol.FileID) bool) {
	s.revision.Add(1)
	for _, u := range s.all() {
		if grant := u.grant.Load(); grant != nil && match(*grant, u.file) {
			u.kill(errRevoked)
		}
	}
}

var errRevoked = errors.New("the grant was withdrawn")

// Stats is what was served so far.
type Stats struct {
	Bytes   int64 // of pieces sent
	Streams int   // open now
}

// Stats returns a snapshot.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Bytes: s.sent.Load(), Streams: len(s.uploads)}
}

// Close removes the handler, ends all streams and waits for their goroutines.
func (s *Server) Close() error {
	if s.cfg.Host != nil {
		s.cfg.Host.RemoveStreamHandler(protocol.PieceProtocol)
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	for _, u := range s.all() {
		u.kill(context.Canceled)
	}
	// A write into a connection that takes nothing outlives the reset of its
	// stream; it ends with the connection.
	stuck := time.AfterFunc(closePatience, func() {
		for _, u := range s.all() {
			s.hangUp(u.remote)
		}
	})
	defer stuck.Stop()
	s.running.Wait()
	return nil
}

// closePatience is how long Close waits before it closes connections.
const closePatience = time.Second

func (s *Server) all() []*upload {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*upload, 0, len(s.uploads))
	for u := range s.uploads {
		all = append(all, u)
	}
	return all
}

// serve runs one stream to its end, in the goroutine that libp2p made for it, and
// calls known when it was let in.
func (s *Server) serve(st stream, remote peer.ID, known func()) {
	u, err := s.enter(st, remote, known)
	switch {
	case errors.Is(err, errTooMany):
		defer s.running.Done()
		s.turnAway(st)
		return
	case err != nil:
		_ = st.Reset()
		return
	}
	defer s.leave(u)
	defer u.barrier()
	if err := u.run(); err != nil {
		log.Debugw("upload ended", "peer", remote, "file", u.file, "err", err)
	}
}

var (
	errClosed  = errors.New("the server is closed")
	errTooMany = errors.New("the peer has as many streams as it may have")
)

// enter counts the stream. After errTooMany running counts it all the same.
func (s *Server) enter(st stream, remote peer.ID, known func()) (*upload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	s.running.Add(1)
	if s.perPeer[remote] >= protocol.MaxPieceStreamsPerPeer {
		return nil, errTooMany
	}
	s.perPeer[remote]++
	s.opened++
	u := newUpload(s, st, remote, known, s.opened)
	s.uploads[u] = struct{}{}
	return u, nil
}

// turnAway tells a peer that has too many streams so: it may come again when
// one of them has ended. That says nothing about the file, or who may have it.
func (s *Server) turnAway(st stream) {
	late := time.AfterFunc(s.cfg.timing.open, func() { _ = st.Reset() })
	defer late.Stop()
	stop := context.AfterFunc(s.life, func() { _ = st.Reset() })
	defer stop()
	err := wire.Write(st, &pb.FromSeeder{Body: &pb.FromSeeder_Refused{Refused: &pb.Refused{Code: string(protocol.CodeBusy)}}})
	if err == nil {
		err = st.Close()
	}
	if err != nil {
		_ = st.Reset()
	}
}

// hangUp closes the connections of a peer, with all its streams. Somebody whose
// first message no client of ours sends loses them: connections are counted by
// address and let in slowly, while streams alone would cost nothing.
func (s *Server) hangUp(remote peer.ID) {
	if s.cfg.Host != nil {
		_ = s.cfg.Host.Network().ClosePeer(remote)
	}
}

func (s *Server) leave(u *upload) {
	defer s.running.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uploads, u)
	if s.perPeer[u.remote]--; s.perPeer[u.remote] == 0 {
		delete(s.perPeer, u.remote)
	}
}

// protect keeps the connection manager from closing a connection in use.
func (s *Server) protect(u *upload) {
	if s.cfg.Host != nil {
		s.cfg.Host.ConnManager().Protect(u.remote, u.tag)
	}
}

func (s *Server) unprotect(u *upload) {
	if s.cfg.Host != nil {
		s.cfg.Host.ConnManager().Unprotect(u.remote, u.tag)
	}
}

// watch enforces what no read or write would notice: deadlines, blocked slots,
// expired grants.
func (s *Server) watch() {
	ticker := time.NewTicker(s.cfg.timing.tick)
	defer ticker.Stop()
	for {
		select {
		case <-s.life.Done():
			return
		case now := <-ticker.C:
			wall := s.cfg.Now()
			for _, u := range s.all() {
				u.check(now, wall)
			}
			s.pace(now)
		}
	}
}

// pace decides how many pieces are sent at once.
func (s *Server) pace(now time.Time) {
	readers, sent := s.turns.readers(), s.sent.Load()
	if readers == 0 {
		s.turns.resize(s.width.reset())
		s.beginning = newBeginning()
		return
	}
	s.width.readers(readers)
	wanting, blocked := s.turns.pressure()
	s.turns.resize(s.width.observe(now, sent, wanting, blocked))
	s.turns.widen(s.beginning.observe(now, sent, s.turns.held()))
}

// barrier turns a panic in a stream's goroutine into the end of that stream.
func (u *upload) barrier() {
	if r := recover(); r != nil {
		log.Errorw("panic while serving a stream", "peer", u.remote, "file", u.file,
			"err", fmt.Sprint(r), "stack", string(debug.Stack()))
		u.kill(errors.New("internal error"))
	}
}
