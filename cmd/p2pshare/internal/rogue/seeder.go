package rogue

import (
	"crypto/sha1"
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/zeebo/blake3"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

// Lie is how a seeder answers a request for a piece, after it has said that it
// has all of them. It writes to the stream what it likes; its error ends the
// stream.
type Lie struct {
	Name string
	// Tell answers the request for piece; nil for a seeder that never does.
	Tell func(s *Seeding, piece uint32) error
	// Greet takes the place of the honest bitfield; nil for that.
	Greet func(s *Seeding) error
}

// Seeding is one stream of a lying seeder.
type Seeding struct {
	network.Stream
	Manifest *protocol.Manifest
	Data     []byte
}

// Seeder counts what one rogue was asked.
type Seeder struct {
	Streams, Asked atomic.Int64
}

// Seed answers all who open a piece stream with a lie about data.
func (p *Peer) Seed(m *protocol.Manifest, data []byte, lie Lie) *Seeder {
	counted := new(Seeder)
	p.Host.SetStreamHandler(protocol.PieceProtocol, func(st network.Stream) {
		counted.Streams.Add(1)
		s := &Seeding{Stream: st, Manifest: m, Data: data}
		s.serve(lie, counted)
		_ = st.Reset()
	})
	return counted
}

// serve answers until the other side has enough of it.
func (s *Seeding) serve(lie Lie, counted *Seeder) {
	reader := wire.NewReader(s, protocol.MaxPieceHeader)
	greet := (*Seeding).Complete
	if lie.Greet != nil {
		greet = lie.Greet
	}
	var m pb.FromLeecher
	if reader.Read(&m) != nil || greet(s) != nil {
		return
	}
	for reader.Read(&m) == nil {
		r := m.GetRequest()
		if r == nil {
			continue
		}
		counted.Asked.Add(1)
		if lie.Tell != nil && lie.Tell(s, r.GetPiece()) != nil {
			return
		}
	}
}

// Say writes messages of a seeder.
func (s *Seeding) Say(messages ...*pb.FromSeeder) error {
	for _, m := range messages {
		if err := wire.Write(s, m); err != nil {
			return err
		}
	}
	return nil
}

// Complete says that all pieces are there.
func (s *Seeding) Complete() error {
	return s.Say(&pb.FromSeeder{Body: &pb.FromSeeder_Bitfield{Bitfield: &pb.Bitfield{Complete: true}}})
}

// bytesOf is what the piece really is.
func (s *Seeding) bytesOf(piece uint32) []byte {
	off := s.Manifest.PieceOffset(int(piece))
	return slices.Clone(s.Data[off : off+s.Manifest.PieceSize(int(piece))])
}

func (s *Seeding) send(piece, length uint32, b []byte) error {
	if err := s.Say(&pb.FromSeeder{Body: &pb.FromSeeder_Piece{Piece: &pb.Piece{Piece: piece, Length: length}}}); err != nil {
		return err
	}
	_, err := s.Write(b)
	return err
}

// Lies are the ways in which a seeder may be wrong about pieces.
func Lies() []Lie {
	have := &pb.FromSeeder{Body: &pb.FromSeeder_Have{Have: &pb.Have{}}}
	return []Lie{
		{Name: "one bit is wrong", Tell: func(s *Seeding, i uint32) error {
			b := s.bytesOf(i)
			b[len(b)/2] ^= 1
			return s.send(i, uint32(len(b)), b)
		}},
		{Name: "zeros", Tell: func(s *Seeding, i uint32) error {
			n := len(s.bytesOf(i))
			return s.send(i, uint32(n), make([]byte, n))
		}},
		{Name: "the bytes of another piece", Tell: func(s *Seeding, i uint32) error {
			return s.send(i, uint32(len(s.bytesOf(i))), s.bytesOf((i+1)%uint32(len(s.Manifest.Pieces)-1)))
		}},
		{Name: "another piece than asked for", Tell: func(s *Seeding, i uint32) error {
			other := (i + 1) % uint32(len(s.Manifest.Pieces))
			b := s.bytesOf(other)
			return s.send(other, uint32(len(b)), b)
		}},
		{Name: "too short by its header", Tell: func(s *Seeding, i uint32) error {
			b := s.bytesOf(i)
			return s.send(i, uint32(len(b)-1), b[1:])
		}},
		{Name: "too long by its header", Tell: func(s *Seeding, i uint32) error {
			b := append(s.bytesOf(i), 0)
			return s.send(i, uint32(len(b)), b)
		}},
		{Name: "4 GiB by its header", Tell: func(s *Seeding, i uint32) error {
			return s.send(i, 1<<32-1, s.bytesOf(i))
		}},
		{Name: "cut off in the middle", Tell: func(s *Seeding, i uint32) error {
			b := s.bytesOf(i)
			_ = s.send(i, uint32(len(b)), b[:len(b)/2])
			return s.Close()
		}},
		{Name: "the same piece twice", Tell: func(s *Seeding, i uint32) error {
			b := s.bytesOf(i)
			b[0] ^= 1
			_ = s.send(i, uint32(len(b)), b)
			return s.send(i, uint32(len(b)), b)
		}},
		{Name: "a frame of 4 GiB", Tell: func(s *Seeding, _ uint32) error {
			_, err := s.Write(binary.AppendUvarint(nil, 4<<30))
			return err
		}},
		{Name: "an overlong varint", Tell: func(s *Seeding, _ uint32) error {
			_, err := s.Write([]byte{0x82, 0x80, 0x80, 0x80, 0x00})
			return err
		}},
		{Name: "a million empty messages", Tell: func(s *Seeding, _ uint32) error {
			_, err := s.Write(make([]byte, 1_000_000))
			return err
		}},
		{Name: "a million times the same news", Tell: func(s *Seeding, _ uint32) error {
			b := slices.Repeat(frame(have), 1_000)
			for range 1_000 {
				if _, err := s.Write(b); err != nil {
					return err
				}
			}
			return nil
		}},
		{Name: "silence"},
		{Name: "one byte at a time", Tell: func(s *Seeding, i uint32) error {
			b := s.bytesOf(i)
			err := s.send(i, uint32(len(b)), nil)
			pace := time.NewTicker(100 * time.Millisecond)
			defer pace.Stop()
			for n := 0; n < len(b) && err == nil; n++ {
				<-pace.C
				_, err = s.Write(b[n : n+1])
			}
			return err
		}},
		{Name: "its turn never comes", Tell: func(s *Seeding, _ uint32) error {
			return s.Say(&pb.FromSeeder{Body: &pb.FromSeeder_WaitTurn{WaitTurn: &pb.WaitTurn{}}})
		}},
		{Name: "everything was dropped", Tell: func(s *Seeding, i uint32) error {
			return s.Say(&pb.FromSeeder{Body: &pb.FromSeeder_Dropped{Dropped: &pb.Dropped{Piece: i, Code: "E_NOT_FOUND"}}})
		}},
		{Name: "a bitfield of a million pieces", Greet: func(s *Seeding) error {
			return s.Say(&pb.FromSeeder{Body: &pb.FromSeeder_Bitfield{Bitfield: &pb.Bitfield{Bits: make([]byte, 125_000)}}})
		}},
		{Name: "nothing but a refusal with a made-up code", Greet: func(s *Seeding) error {
			return s.Say(&pb.FromSeeder{Body: &pb.FromSeeder_Refused{Refused: &pb.Refused{Code: "\x1b[2JE_\u202eX"}}})
		}},
	}
}

// Honest tells no lie.
func Honest() Lie {
	return Lie{Name: "none", Tell: func(s *Seeding, i uint32) error {
		b := s.bytesOf(i)
		return s.send(i, uint32(len(b)), b)
	}}
}

// ManifestOf describes data under a name, be it one that is not allowed.
func ManifestOf(name string, data []byte) *protocol.Manifest {
	m := &protocol.Manifest{Name: name, Size: int64(len(data)), SHA1: sha1.Sum(data)}
	m.PieceLength, _ = protocol.PieceLengthFor(m.Size) // what is in memory is never too long
	for i := range protocol.PieceCount(m.Size, m.PieceLength) {
		b := data[m.PieceOffset(i) : m.PieceOffset(i)+m.PieceSize(i)]
		m.Pieces = append(m.Pieces, protocol.PieceHash{SHA1: sha1.Sum(b), BLAKE3: blake3.Sum256(b)})
	}
	return m
}
