package piece

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bits-and-blooms/bitset"
	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

// download is what the reading goroutine of a Conn knows.
type download struct {
	*Conn
	reader *wire.Reader
	told   *bitset.BitSet // pieces that the peer has said it has; nil for all
}

// read takes messages until the stream ends, and says why.
func (c *Conn) read() error {
	d := &download{Conn: c, reader: wire.NewReader(c.stream, protocol.MaxPieceHeader)}
	if c.cfg.Limit != nil { // what is read before it may be is beyond the limit
		d.reader = wire.NewReaderSize(c.stream, protocol.MaxPieceHeader, 256)
	}
	if err := d.first(); err != nil {
		return err
	}
	for {
		m, err := d.next()
		if err != nil {
			return err
		}
		if err := d.handle(m); err != nil {
			return err
		}
	}
}

// next reads one header. While nothing is due it may wait for ever.
func (d *download) next() (*pb.FromSeeder, error) {
	d.await(true)
	var m pb.FromSeeder
	err := d.reader.Read(&m)
	d.await(false)
	switch {
	case err == nil:
		return &m, nil
	case errors.Is(err, wire.ErrTooLong), errors.Is(err, proto.Error):
		return nil, fmt.Errorf("%w: %w", ErrViolation, err)
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("the peer ended the stream: %w", err)
	default:
		return nil, fmt.Errorf("read from the peer: %w", err)
	}
}

// await starts or stops the clock that runs while a header is waited for.
func (c *Conn) await(header bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting, c.heard = header, time.Now()
}

// first takes the answer to the opening.
func (d *download) first() error {
	m, err := d.next()
	if err != nil {
		return err
	}
	switch body := m.GetBody().(type) {
	case *pb.FromSeeder_Refused:
		return refusal(body.Refused.GetCode())
	case *pb.FromSeeder_Bitfield:
		e, err := d.bitfield(body.Bitfield)
		if err != nil {
			return err
		}
		d.mu.Lock()
		d.opening = false
		d.mu.Unlock()
		d.cfg.Sink(e)
		return nil
	default:
		return fmt.Errorf("%w: it begins with neither a bitfield nor a refusal", ErrViolation)
	}
}

// refusal makes the error of the codes that a refusal may have; any other
// counts as the one that tells least.
func refusal(code string) error {
	switch protocol.Code(code) {
	case protocol.CodeSession:
		return protocol.Errorf(protocol.CodeSession, "the seeder says that the ticket has expired")
	case protocol.CodeBusy:
		return protocol.Errorf(protocol.CodeBusy, "the seeder serves as many downloads of this client as it does at once")
	default: // told as one
	}
	return protocol.Errorf(protocol.CodeNotMember, "the seeder does not serve this file to you")
}

func (d *download) bitfield(b *pb.Bitfield) (Bitfield, error) {
	pieces := len(d.cfg.Manifest.Pieces)
	bits := b.GetBits()
	if b.GetComplete() {
		if len(bits) > 0 {
			return Bitfield{}, fmt.Errorf("%w: a complete bitfield with bits", ErrViolation)
		}
		return Bitfield{Complete: true}, nil
	}
	if len(bits) != (pieces+7)/8 {
		return Bitfield{}, fmt.Errorf("%w: a bitfield of %d bytes for %d pieces", ErrViolation, len(bits), pieces)
	}
	if spare := len(bits)*8 - pieces; spare > 0 && bits[len(bits)-1]&(1<<spare-1) != 0 {
		return Bitfield{}, fmt.Errorf("%w: a bitfield with spare bits", ErrViolation)
	}
	d.told = bitset.New(uint(pieces))
	for i := range pieces {
		if bits[i/8]&(0x80>>(i%8)) != 0 {
			d.told.Set(uint(i))
		}
	}
	return Bitfield{Bits: append([]byte(nil), bits...)}, nil
}

func (d *download) handle(m *pb.FromSeeder) error {
	switch body := m.GetBody().(type) {
	case *pb.FromSeeder_Have:
		return d.have(body.Have.GetPiece())
	case *pb.FromSeeder_Piece:
		return d.piece(body.Piece)
	case *pb.FromSeeder_Dropped:
		return d.dropped(body.Dropped)
	case *pb.FromSeeder_WaitTurn:
		d.mu.Lock()
		d.probe = -1 // what comes now has waited for others
		d.mu.Unlock()
		return nil
	default:
		return fmt.Errorf("%w: an unexpected message", ErrViolation)
	}
}

func (d *download) have(piece uint32) error {
	if int64(piece) >= int64(len(d.cfg.Manifest.Pieces)) {
		return fmt.Errorf("%w: news of piece %d of %d", ErrViolation, piece, len(d.cfg.Manifest.Pieces))
	}
	// Old news are harmless, but each piece is told once.
	if d.told == nil || d.told.Test(uint(piece)) {
		return nil
	}
	d.told.Set(uint(piece))
	d.cfg.Sink(Have{Piece: int(piece)})
	return nil
}

func (d *download) dropped(m *pb.Dropped) error {
	piece := int(m.GetPiece())
	if !d.answered(piece) {
		return fmt.Errorf("%w: it dropped piece %d, which was not asked for", ErrViolation, m.GetPiece())
	}
	code := protocol.Code(m.GetCode())
	switch code {
	case "", protocol.CodeNotFound, protocol.CodeSourceChanged, protocol.CodeBusy:
	default:
		code = protocol.CodeInternal
	}
	d.cfg.Sink(Dropped{Piece: piece, Code: code})
	return nil
}

// answered counts an answer; false if there was no request.
func (d *download) answered(piece int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.outstanding[piece] == 0 {
		return false
	}
	if d.outstanding[piece]--; d.outstanding[piece] == 0 {
		delete(d.outstanding, piece)
	}
	d.unanswered--
	if piece == d.probe {
		d.probe = -1
		if took := time.Since(d.probeSent); d.rtt == 0 || took < d.rtt {
			d.rtt = max(took, 1)
		}
	}
	return true
}

// errEnded is never seen outside: the stream has had its end before.
var errEnded = errors.New("the stream was ended here")

// piece reads the bytes behind a header.
func (d *download) piece(m *pb.Piece) error {
	piece := int(m.GetPiece())
	if !d.answered(piece) {
		return fmt.Errorf("%w: it sent piece %d, which was not asked for", ErrViolation, m.GetPiece())
	}
	size := d.cfg.Manifest.PieceSize(piece)
	if int64(m.GetLength()) != size {
		return fmt.Errorf("%w: piece %d has %d bytes, it says %d", ErrViolation, piece, size, m.GetLength())
	}
	d.cfg.Sink(Begun{Piece: piece})
	b := d.cfg.Buffers.get(d.ended, d.cfg.File, d.cfg.Manifest.PieceLength, size)
	if b == nil {
		return errEnded
	}
	began := time.Now()
	d.pace.begin(began, true)
	now, err := d.fill(b.B, began)
	d.pace.pause()
	if err != nil {
		b.Release()
		return fmt.Errorf("read piece %d: %w", piece, err)
	}
	d.cfg.Sink(Received{Piece: piece, Data: b, Took: now.Sub(began)})
	return nil
}

// fill reads all of p and returns the time of the last byte.
func (d *download) fill(p []byte, now time.Time) (time.Time, error) {
	raw := d.reader.Raw()
	granted := len(p) // how much of it may be read before it waits for the limit
	if d.cfg.Limit != nil {
		granted = 0
	}
	for len(p) > 0 {
		if granted == 0 {
			granted = min(len(p), limitBurst)
			d.pace.pause() // that the rest waits is our doing
			if !d.cfg.Limit.wait(granted, d.ended) {
				return now, errEnded
			}
			d.pace.resume(time.Now())
		}
		n, err := raw.Read(p[:granted])
		p, granted = p[n:], granted-n
		now = time.Now()
		d.pace.moved(now, n)
		if err != nil && len(p) > 0 {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return now, err
		}
	}
	return now, nil
}
