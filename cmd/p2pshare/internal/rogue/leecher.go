package rogue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

// Opening is the first message of a leecher, as bytes on the stream.
func Opening(ticket []byte, file protocol.FileID) []byte {
	return frame(&pb.FromLeecher{Body: &pb.FromLeecher_Open{Open: &pb.Open{Ticket: ticket, FileId: file[:]}}})
}

// Request asks for a piece.
func Request(piece uint32) []byte {
	return frame(&pb.FromLeecher{Body: &pb.FromLeecher_Request{Request: &pb.Request{Piece: piece}}})
}

// frame cannot fail: the messages are made here.
func frame(m proto.Message) []byte {
	b, _ := wire.Append(nil, m)
	return b
}

// Stream opens a stream to somebody the peer has met or is told of.
func (p *Peer) Stream(to peer.AddrInfo, id p2pproto.ID) (network.Stream, error) {
	p.Meet(to)
	ctx, cancel := context.WithTimeout(p.T.Context(), Patience)
	defer cancel()
	return p.Host.NewStream(ctx, to.ID, id)
}

// Answer is what came back on a stream until its end.
type Answer struct {
	Bytes []byte
	Reset bool          // it ended by a reset
	Took  time.Duration // from before the first byte written to the end
}

// Say opens a stream, writes what it is given, and reads until the other side
// ends the stream. It is an error if that takes longer than Patience.
func (p *Peer) Say(to peer.AddrInfo, id p2pproto.ID, said ...[]byte) (Answer, error) {
	s, err := p.Stream(to, id)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = s.Reset() }()
	begun := time.Now()
	for _, b := range said {
		if _, err := s.Write(b); err != nil {
			break // refused by now: what it answered is there to be read
		}
	}
	_ = s.SetReadDeadline(time.Now().Add(Patience))
	b, err := io.ReadAll(s)
	a := Answer{Bytes: b, Took: time.Since(begun), Reset: errors.Is(err, network.ErrReset)}
	if err != nil && !a.Reset {
		return a, fmt.Errorf("the stream does not end: %w", err)
	}
	return a, nil
}

// Knock asks a seeder for a file, and for its first piece at once.
func (p *Peer) Knock(seeder peer.AddrInfo, ticket []byte, file protocol.FileID) (Answer, error) {
	return p.Say(seeder, protocol.PieceProtocol, Opening(ticket, file), Request(0))
}

// Leech is a stream on which a seeder has let the peer in.
type Leech struct {
	network.Stream
	reader *wire.Reader
}

// Leech opens a stream and reads the bitfield; the error is the refusal.
func (p *Peer) Leech(seeder peer.AddrInfo, ticket []byte, file protocol.FileID) (*Leech, error) {
	s, err := p.Stream(seeder, protocol.PieceProtocol)
	if err != nil {
		return nil, err
	}
	l := &Leech{Stream: s, reader: wire.NewReader(s, protocol.MaxPieceHeader)}
	p.T.Cleanup(func() { _ = s.Reset() })
	_ = s.SetDeadline(time.Now().Add(Patience))
	var m pb.FromSeeder
	if _, err = s.Write(Opening(ticket, file)); err == nil {
		err = l.reader.Read(&m)
	}
	switch {
	case err != nil:
		return nil, err
	case m.GetBitfield() == nil:
		return nil, fmt.Errorf("refused: %s", m.GetRefused().GetCode())
	}
	return l, s.SetDeadline(time.Time{})
}

// Piece asks for a piece and reads it.
func (l *Leech) Piece(piece uint32) ([]byte, error) {
	if _, err := l.Write(Request(piece)); err != nil {
		return nil, err
	}
	for {
		var m pb.FromSeeder
		if err := l.reader.Read(&m); err != nil {
			return nil, err
		}
		if p := m.GetPiece(); p != nil {
			b := make([]byte, p.GetLength())
			return b, l.reader.ReadRaw(b)
		}
		if m.GetWaitTurn() == nil && m.GetHave() == nil {
			return nil, fmt.Errorf("an unexpected answer: %v", &m)
		}
	}
}
