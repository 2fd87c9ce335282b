package piece

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

// havesAtOnce bounds how long news keep a granted piece waiting.
const havesAtOnce = 256

// write sends the bitfield, then answers, news and pieces until the stream ends.
func (u *upload) write(bitfield *pb.Bitfield) error {
	first, err := wire.Append(nil, &pb.FromSeeder{Body: &pb.FromSeeder_Bitfield{Bitfield: bitfield}})
	if err != nil {
		return fmt.Errorf("encode the bitfield: %w", err)
	}
	if err := u.send(first); err != nil {
		return err
	}
	reassure := time.NewTimer(u.server.cfg.timing.waitTurn)
	defer reassure.Stop()
	queue := u.queue.Load()
	for {
		drops, piece, waiting := u.server.turns.work(queue)
		haves := u.news.take(havesAtOnce)
		if err := u.sendAnswers(drops, haves); err != nil {
			return err
		}
		if piece >= 0 {
			err := u.sendPiece(piece)
			u.server.turns.done(queue)
			if err != nil {
				return err
			}
		}
		if piece >= 0 || len(drops) > 0 || len(haves) > 0 {
			reassure.Reset(u.server.cfg.timing.waitTurn)
			continue
		}
		select {
		case <-u.ended:
			return u.cause
		case <-u.wakeup:
		case <-reassure.C:
			reassure.Reset(u.server.cfg.timing.waitTurn)
			if waiting {
				if err := u.sendWaitTurn(); err != nil {
					return err
				}
			}
		}
	}
}

// send writes a few small messages, under the deadline of silence.
func (u *upload) send(b []byte) error {
	u.pace.begin(time.Now(), false)
	defer u.pace.pause()
	if _, err := u.stream.Write(b); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func (u *upload) sendWaitTurn() error {
	b, err := wire.Append(nil, &pb.FromSeeder{Body: &pb.FromSeeder_WaitTurn{WaitTurn: &pb.WaitTurn{}}})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return u.send(b)
}

func (u *upload) sendAnswers(drops []drop, haves []int) (err error) {
	var b []byte
	for _, d := range drops {
		if b, err = appendDropped(b, d); err != nil {
			return err
		}
	}
	for _, piece := range haves {
		b, err = wire.Append(b, &pb.FromSeeder{Body: &pb.FromSeeder_Have{Have: &pb.Have{Piece: uint32(piece)}}})
		if err != nil {
			return fmt.Errorf("encode: %w", err)
		}
	}
	if len(b) == 0 {
		return nil
	}
	return u.send(b)
}

func appendDropped(b []byte, d drop) ([]byte, error) {
	b, err := wire.Append(b, &pb.FromSeeder{Body: &pb.FromSeeder_Dropped{
		Dropped: &pb.Dropped{Piece: uint32(d.piece), Code: string(d.code)},
	}})
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return b, nil
}

// sendPiece sends one piece, header and first chunk in one write. A source
// that fails before its first byte is answered; later the stream has to end,
// since the header has promised the rest.
func (u *upload) sendPiece(piece int) error {
	buf, ok := u.server.chunks.Get().(*[headerRoom + chunk]byte)
	if !ok {
		return errors.New("internal: a foreign chunk")
	}
	defer u.server.chunks.Put(buf)
	offset, left := u.manifest.PieceOffset(piece), u.manifest.PieceSize(piece)
	header, err := wire.Append(buf[:0], &pb.FromSeeder{Body: &pb.FromSeeder_Piece{
		Piece: &pb.Piece{Piece: uint32(piece), Length: uint32(left)},
	}})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	start := len(header)
	for left > 0 {
		n := int(min(left, chunk))
		if err := u.readSource(buf[start:start+n], offset); err != nil {
			if len(header) == start {
				return u.unreadable(piece, err)
			}
			return fmt.Errorf("read piece %d of the source: %w", piece, err)
		}
		if limit := u.server.cfg.Limit; limit != nil && !limit.wait(start+n, u.ended) {
			return u.cause
		}
		if start > 0 {
			u.pace.begin(time.Now(), true)
		} else {
			u.pace.resume(time.Now())
		}
		if _, err := u.stream.Write(buf[:start+n]); err != nil {
			return fmt.Errorf("write piece %d: %w", piece, err)
		}
		u.pace.moved(time.Now(), n)
		u.pace.pause() // reading the source is our time
		u.server.sent.Add(int64(n))
		offset, left = offset+int64(n), left-int64(n)
		start = 0
	}
	return nil
}

func (u *upload) readSource(p []byte, offset int64) error {
	n, err := u.content.ReadAt(p, offset)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return protocol.Errorf(protocol.CodeSourceChanged, "the file is shorter than it was")
	}
	return err
}

// unreadable tells the leecher that the piece cannot be had here. Of our own
// trouble it learns no more than that.
func (u *upload) unreadable(piece int, err error) error {
	code := protocol.CodeOf(err)
	if code != protocol.CodeSourceChanged && code != protocol.CodeNotFound {
		log.Errorw("a shared file cannot be read", "file", u.file, "piece", piece, "err", err)
		code = protocol.CodeInternal
	}
	b, err := appendDropped(nil, drop{piece: piece, code: code})
	if err != nil {
		return err
	}
	return u.send(b)
}
