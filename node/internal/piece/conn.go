package piece

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

// maxOutbox bounds what Request, Cancel and Renew may leave unsent. A window
// of requests is far below it; who exceeds it has lost count, and the stream ends.
const maxOutbox = 4 * protocol.MaxRequestsQueued

// OpenConfig says what to open.
type OpenConfig struct {
	Host     host.Host
	Peer     peer.ID // its addresses are in the peerstore
	Manifest *protocol.Manifest
	File     protocol.FileID
	Ticket   []byte
	// Buffers may be shared by many streams; nil for one of the stream's own.
	Buffers *Buffers
	// Limit bounds the pieces that are read, together with other streams; nil
	// for no bound.
	Limit *Limit
	// Sink gets the events, from one goroutine, the first ones maybe before
	// Open returns. It may block: then nothing more is read from the peer, and
	// deadlines stand still. It may call the methods of the Conn.
	Sink func(Event)

	timing timing
}

// Conn is the downloader's end of one stream to one peer for one file. Request,
// Cancel and Renew never block; they queue. At most protocol.MaxRequestsQueued
// requests may be without an answer. Every request gets exactly one answer,
// Received or Dropped, unless the stream ends. Safe for concurrent use.
//
// Its goroutines end with the stream, and Closed comes after they have.
type Conn struct {
	cfg    OpenConfig
	stream stream
	pace   pace // of the bytes of a piece

	wakeup chan struct{} // one slot: the outbox has something
	ended  chan struct{} // closed by the first end
	reset  chan struct{} // closed when the stream is reset
	once   sync.Once
	cause  error // of the first end; read after ended

	mu          sync.Mutex
	outbox      []*pb.FromLeecher
	shown       []byte      // the ticket shown last
	outstanding map[int]int // requests without an answer, by piece
	unanswered  int         // their sum
	opening     bool        // the bitfield has not come
	waiting     bool        // for a header
	heard       time.Time   // since when a header is due, if one is
	writeErr    error
	probe       int // the piece that an idle stream asked for, or -1
	probeSent   time.Time
	rtt         time.Duration
}

// Open connects, shows the ticket and starts to deliver events. The context
// bounds the opening alone. After an error there is no event.
func Open(ctx context.Context, cfg OpenConfig) (*Conn, error) {
	st, err := cfg.Host.NewStream(ctx, cfg.Peer, protocol.PieceProtocol)
	if err != nil {
		return nil, fmt.Errorf("open a stream to %s: %w", cfg.Peer, err)
	}
	return start(st, cfg), nil
}

// start runs the protocol on a stream.
func start(st stream, cfg OpenConfig) *Conn {
	cfg.timing = cfg.timing.orDefaults()
	if cfg.Buffers == nil {
		cfg.Buffers = new(Buffers)
	}
	c := &Conn{
		cfg: cfg, stream: st, pace: pace{limits: cfg.timing},
		wakeup: make(chan struct{}, 1), ended: make(chan struct{}), reset: make(chan struct{}),
		outstanding: map[int]int{}, opening: true, probe: -1, shown: bytes.Clone(cfg.Ticket),
	}
	c.enqueue(&pb.FromLeecher{Body: &pb.FromLeecher_Open{Open: &pb.Open{
		Ticket: bytes.Clone(cfg.Ticket), FileId: cfg.File[:],
	}}})
	go c.run()
	return c
}

// Request asks for a piece.
func (c *Conn) Request(piece int) {
	if piece < 0 || piece >= len(c.cfg.Manifest.Pieces) {
		c.stop(fmt.Errorf("request of piece %d of %d", piece, len(c.cfg.Manifest.Pieces)))
		return
	}
	c.mu.Lock()
	if c.unanswered == 0 {
		c.heard = time.Now()
		c.probe, c.probeSent = piece, c.heard
	}
	c.outstanding[piece]++
	c.unanswered++
	c.mu.Unlock()
	c.enqueue(&pb.FromLeecher{Body: &pb.FromLeecher_Request{Request: &pb.Request{Piece: uint32(piece)}}})
}

// Cancel takes a request back; a Dropped or a Received follows all the same.
func (c *Conn) Cancel(piece int) {
	c.mu.Lock()
	asked := c.outstanding[piece] > 0
	c.mu.Unlock()
	if asked {
		c.enqueue(&pb.FromLeecher{Body: &pb.FromLeecher_Cancel{Cancel: &pb.Cancel{Piece: uint32(piece)}}})
	}
}

// Renew shows a fresh ticket. Those of one stream must be minutes apart; the
// one that was shown last is not shown again, however often it is given.
func (c *Conn) Renew(ticket []byte) {
	c.mu.Lock()
	again := bytes.Equal(ticket, c.shown)
	c.shown = bytes.Clone(ticket)
	c.mu.Unlock()
	if again {
		return
	}
	c.enqueue(&pb.FromLeecher{Body: &pb.FromLeecher_RenewTicket{RenewTicket: &pb.RenewTicket{Ticket: bytes.Clone(ticket)}}})
}

// RTT returns the smallest time between a request on an idle stream and its
// first byte, zero if not known.
func (c *Conn) RTT() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rtt
}

// Close ends the stream; Closed follows, and then no event. It does not wait.
func (c *Conn) Close() { c.stop(nil) }

// stop ends the stream. The first cause is the one that Closed tells.
func (c *Conn) stop(err error) {
	c.once.Do(func() {
		c.cause = err
		close(c.ended)
		go func() {
			defer close(c.reset)
			_ = c.stream.Reset() // may have to wait until the connection takes it
		}()
	})
}

func (c *Conn) enqueue(m *pb.FromLeecher) {
	c.mu.Lock()
	full := len(c.outbox) >= maxOutbox
	if !full {
		c.outbox = append(c.outbox, m)
	}
	c.mu.Unlock()
	if full {
		c.stop(errors.New("more messages than the peer takes"))
		return
	}
	select {
	case c.wakeup <- struct{}{}:
	default:
	}
}

// run reads in its own goroutine and waits for the others.
func (c *Conn) run() {
	tag := fmt.Sprintf("p2pshare/fetch/%p", c)
	if h := c.cfg.Host; h != nil {
		h.ConnManager().Protect(c.cfg.Peer, tag)
		defer h.ConnManager().Unprotect(c.cfg.Peer, tag)
	}
	var others sync.WaitGroup
	others.Go(c.write)
	others.Go(c.watch)
	c.stop(c.read())
	others.Wait()
	<-c.reset
	c.cfg.Sink(Closed{Err: c.cause})
}

// write sends what is in the outbox, all of it in one call.
func (c *Conn) write() {
	for {
		select {
		case <-c.ended:
			return
		case <-c.wakeup:
		}
		c.mu.Lock()
		messages := c.outbox
		c.outbox = nil
		c.mu.Unlock()
		var b []byte
		var err error
		for _, m := range messages {
			if b, err = wire.Append(b, m); err != nil {
				c.stop(fmt.Errorf("encode a request: %w", err))
				return
			}
		}
		if _, err := c.stream.Write(b); err != nil {
			c.unwritable(err)
			return
		}
	}
}

// unwritable notes that the peer takes nothing more. What it said before may
// still be read, a refusal above all, so reading goes on for a while.
func (c *Conn) unwritable(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeErr = fmt.Errorf("write to the peer: %w", err)
	c.heard = time.Now()
}

// watch enforces the deadlines of reading. A write that blocks needs none: the
// answers to what was written before are due all the same.
func (c *Conn) watch() {
	ticker := time.NewTicker(c.cfg.timing.tick)
	defer ticker.Stop()
	for {
		select {
		case <-c.ended:
			return
		case now := <-ticker.C:
			if err := errors.Join(c.checkHeader(now), c.pace.check(now, 0)); err != nil {
				c.stop(err)
			}
		}
	}
}

// checkHeader returns an error if a header should have come long ago. A peer
// at which requests wait says so every protocol.WaitTurn.
func (c *Conn) checkHeader(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	due := c.opening || c.unanswered > 0 || c.writeErr != nil
	silent := now.Sub(c.heard)
	if !c.waiting || !due || silent <= c.cfg.timing.silence {
		return nil
	}
	if c.writeErr != nil {
		return c.writeErr
	}
	return fmt.Errorf("%w: no answer for %v", ErrLate, silent.Round(time.Millisecond))
}
