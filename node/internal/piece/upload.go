package piece

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/node/internal/gate"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

const (
	// renewals of a ticket are minutes apart; each costs a signature to check.
	renewalsPerSecond, renewalBurst = 1, 8
	// admissionTries bounds how often a grant is asked for again because
	// CloseWhere was called meanwhile.
	admissionTries = 5
)

// upload is the seeder's end of one stream: a goroutine reads, another writes.
type upload struct {
	server *Server
	stream stream
	remote peer.ID
	known  func() // called when it is let in
	pace   pace   // of what is written

	tag string // protects the connection

	file  protocol.FileID // set before grant
	grant atomic.Pointer[gate.Grant]
	queue atomic.Pointer[queue]

	// Set before the writer starts, and known to it and the reader alone.
	content  Content
	manifest *protocol.Manifest
	news     *news
	renewals *rate.Limiter

	wakeup chan struct{} // one slot: there may be work
	ended  chan struct{} // closed by the first kill
	once   sync.Once
	cause  error // of the first kill; read after ended

	mu       sync.Mutex
	ticket   []byte // the last one that was accepted
	checking bool   // an expired grant is being looked at
}

func newUpload(s *Server, st stream, remote peer.ID, known func(), number uint64) *upload {
	return &upload{
		server: s, stream: st, remote: remote, known: known, tag: fmt.Sprintf("p2pshare/piece/%d", number),
		pace:     pace{limits: s.cfg.timing},
		renewals: rate.NewLimiter(renewalsPerSecond, renewalBurst),
		wakeup:   make(chan struct{}, 1),
		ended:    make(chan struct{}),
	}
}

// wake tells the writer that there may be work.
func (u *upload) wake() {
	select {
	case u.wakeup <- struct{}{}:
	default:
	}
}

// kill ends the stream at once, and does not block: a reset may have to wait
// until the connection takes it.
func (u *upload) kill(err error) {
	u.once.Do(func() {
		u.cause = err
		close(u.ended)
		u.server.running.Go(func() { _ = u.stream.Reset() })
	})
}

// run serves the stream until it ends and says why.
func (u *upload) run() error {
	reader := wire.NewReader(u.stream, maxLeecherHeader)
	ticket, err := u.readOpen(reader)
	if err != nil {
		u.kill(err)
		if errors.Is(err, ErrViolation) {
			u.server.hangUp(u.remote)
		}
		return err
	}
	content, err := u.admit(ticket)
	if err != nil {
		return u.refuse(err)
	}
	u.known()
	u.content, u.manifest = content, content.Manifest()
	u.news = newNews(len(u.manifest.Pieces), u.wake)
	defer content.Subscribe(u.news.add)()
	bitfield := u.news.begin(content.Have())

	queue := u.server.turns.join(u.remote, u.file, u)
	defer u.server.turns.leave(queue)
	u.queue.Store(queue)
	u.server.protect(u)
	defer u.server.unprotect(u)
	var writer sync.WaitGroup
	defer func() {
		u.kill(errors.New("the reader ended"))
		writer.Wait()
	}()
	writer.Go(func() {
		defer u.barrier()
		u.kill(u.write(bitfield))
	})
	u.kill(u.read(reader))
	return u.cause
}

// readOpen reads the first message, which must come soon.
func (u *upload) readOpen(reader *wire.Reader) (ticket []byte, err error) {
	deadline := time.Now().Add(u.server.cfg.timing.open)
	if err := u.stream.SetReadDeadline(deadline); err != nil {
		return nil, fmt.Errorf("set the deadline: %w", err)
	}
	var m pb.FromLeecher
	switch err := reader.Read(&m); {
	case errors.Is(err, wire.ErrTooLong), errors.Is(err, proto.Error):
		return nil, fmt.Errorf("%w: the first message: %w", ErrViolation, err)
	case err != nil:
		return nil, fmt.Errorf("read the first message: %w", err)
	}
	open := m.GetOpen()
	if open == nil || len(open.GetFileId()) != len(u.file) || len(open.GetTicket()) > protocol.MaxCredential {
		return nil, fmt.Errorf("%w: the first message is not an opening", ErrViolation)
	}
	copy(u.file[:], open.GetFileId())
	if err := u.stream.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("lift the deadline: %w", err)
	}
	return bytes.Clone(open.GetTicket()), nil
}

// admit asks for a grant and stores it. If streams were closed meanwhile, what
// it was based on may be out of date.
func (u *upload) admit(ticket []byte) (Content, error) {
	ctx, cancel := context.WithTimeout(u.server.life, u.server.cfg.timing.open)
	defer cancel()
	for range admissionTries {
		revision := u.server.revision.Load()
		grant, content, err := u.server.cfg.Admit(ctx, u.remote, ticket, u.file)
		if err != nil {
			return nil, err
		}
		if old := u.grant.Load(); old != nil && (old.Group != grant.Group || old.User != grant.User) {
			return nil, fmt.Errorf("%w: a ticket of another group or user", ErrViolation)
		}
		u.mu.Lock()
		u.ticket = ticket
		u.mu.Unlock()
		u.grant.Store(&grant)
		if u.server.revision.Load() == revision {
			return content, nil
		}
	}
	return nil, errRevoked
}

// refuse answers an opening. One answer for all reasons but an expired ticket,
// so that nobody learns whether the file is here.
func (u *upload) refuse(reason error) error {
	code := protocol.CodeNotMember
	if protocol.CodeOf(reason) == protocol.CodeSession {
		code = protocol.CodeSession
	}
	u.pace.begin(time.Now(), false)
	err := wire.Write(u.stream, &pb.FromSeeder{Body: &pb.FromSeeder_Refused{Refused: &pb.Refused{Code: string(code)}}})
	u.pace.pause()
	if err == nil {
		err = u.stream.Close()
	}
	if err != nil {
		u.kill(err)
	}
	// A reset from here on could overtake the answer.
	u.once.Do(func() {
		u.cause = reason
		close(u.ended)
	})
	return fmt.Errorf("refused: %w", reason)
}

// read takes requests until the leecher goes or breaks the protocol.
func (u *upload) read(reader *wire.Reader) error {
	for {
		var m pb.FromLeecher
		if err := reader.Read(&m); err != nil {
			if errors.Is(err, io.EOF) {
				return io.EOF
			}
			return fmt.Errorf("read a request: %w", err)
		}
		if err := u.handle(&m); err != nil {
			return err
		}
	}
}

func (u *upload) handle(m *pb.FromLeecher) error {
	turns := u.server.turns
	switch body := m.GetBody().(type) {
	case *pb.FromLeecher_Request:
		piece, err := u.index(body.Request.GetPiece())
		if err != nil {
			return err
		}
		if !u.news.has(piece) {
			if !turns.drop(u.queue.Load(), drop{piece: piece, code: protocol.CodeNotFound}) {
				return fmt.Errorf("%w: too many answers unread", ErrViolation)
			}
		} else if !turns.request(u.queue.Load(), piece) {
			return fmt.Errorf("%w: more than %d requests", ErrViolation, protocol.MaxRequestsQueued)
		}
	case *pb.FromLeecher_Cancel:
		piece, err := u.index(body.Cancel.GetPiece())
		if err != nil {
			return err
		}
		if !turns.cancel(u.queue.Load(), piece) {
			return fmt.Errorf("%w: too many answers unread", ErrViolation)
		}
	case *pb.FromLeecher_RenewTicket:
		ticket := body.RenewTicket.GetTicket()
		if len(ticket) > protocol.MaxCredential || !u.renewals.Allow() {
			return fmt.Errorf("%w: renewals", ErrViolation)
		}
		if _, err := u.admit(bytes.Clone(ticket)); err != nil {
			return fmt.Errorf("renew: %w", err)
		}
	default:
		return fmt.Errorf("%w: an unknown message", ErrViolation)
	}
	return nil
}

func (u *upload) index(piece uint32) (int, error) {
	if int64(piece) >= int64(len(u.manifest.Pieces)) {
		return 0, fmt.Errorf("%w: piece %d of %d", ErrViolation, piece, len(u.manifest.Pieces))
	}
	return int(piece), nil
}

// check is called at every tick. now is monotonic, wall what grants go by.
func (u *upload) check(now, wall time.Time) {
	if err := u.pace.check(now, chunk); err != nil {
		u.kill(err)
		return
	}
	grant := u.grant.Load()
	if grant == nil {
		return
	}
	if wall.After(grant.Expires) {
		u.expire(wall)
	}
	if queue := u.queue.Load(); queue != nil && u.pace.blocked(now) > u.server.cfg.timing.stall {
		if excess := u.server.turns.park(queue, now); excess != nil {
			excess.own.kill(fmt.Errorf("%w: too many readers like this one", ErrLate))
		}
	}
}

// expire asks once more about the last ticket: while no tracker is reachable,
// one that was good may count for longer.
func (u *upload) expire(wall time.Time) {
	u.mu.Lock()
	ticket, busy := u.ticket, u.checking
	u.checking = true
	u.mu.Unlock()
	if busy {
		return
	}
	u.server.running.Go(func() {
		defer u.barrier()
		_, err := u.admit(ticket)
		u.mu.Lock()
		u.checking = false
		u.mu.Unlock()
		if grant := u.grant.Load(); err == nil && wall.After(grant.Expires) {
			err = protocol.Errorf(protocol.CodeSession, "the ticket has expired")
		}
		if err != nil {
			u.kill(err)
		}
	})
}
