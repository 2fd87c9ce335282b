package piece_test

import (
	"testing"
	"time"

	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

// frame is the messages as they go over a stream.
func frame[M proto.Message](t testing.TB, messages ...M) []byte {
	t.Helper()
	var b []byte
	var err error
	for _, m := range messages {
		if b, err = wire.Append(b, m); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func opening(ticket string, id protocol.FileID) *pb.FromLeecher {
	return &pb.FromLeecher{Body: &pb.FromLeecher_Open{Open: &pb.Open{Ticket: []byte(ticket), FileId: id[:]}}}
}

func request(i uint32) *pb.FromLeecher {
	return &pb.FromLeecher{Body: &pb.FromLeecher_Request{Request: &pb.Request{Piece: i}}}
}

func cancel(i uint32) *pb.FromLeecher {
	return &pb.FromLeecher{Body: &pb.FromLeecher_Cancel{Cancel: &pb.Cancel{Piece: i}}}
}

// hasAll and has are bitfields.
func hasAll() *pb.FromSeeder {
	return &pb.FromSeeder{Body: &pb.FromSeeder_Bitfield{Bitfield: &pb.Bitfield{Complete: true}}}
}

func has(bits ...byte) *pb.FromSeeder {
	return &pb.FromSeeder{Body: &pb.FromSeeder_Bitfield{Bitfield: &pb.Bitfield{Bits: bits}}}
}

// sends is what goes ahead of the n bytes of a piece.
func sends(i, n uint32) *pb.FromSeeder {
	return &pb.FromSeeder{Body: &pb.FromSeeder_Piece{Piece: &pb.Piece{Piece: i, Length: n}}}
}

func news(i uint32) *pb.FromSeeder {
	return &pb.FromSeeder{Body: &pb.FromSeeder_Have{Have: &pb.Have{Piece: i}}}
}

func drops(i uint32, code string) *pb.FromSeeder {
	return &pb.FromSeeder{Body: &pb.FromSeeder_Dropped{Dropped: &pb.Dropped{Piece: i, Code: code}}}
}

func refuses(code string) *pb.FromSeeder {
	return &pb.FromSeeder{Body: &pb.FromSeeder_Refused{Refused: &pb.Refused{Code: code}}}
}

func waitTurn() *pb.FromSeeder {
	return &pb.FromSeeder{Body: &pb.FromSeeder_WaitTurn{WaitTurn: &pb.WaitTurn{}}}
}

// rawOpen opens a stream and shows a ticket by hand.
func rawOpen(t *testing.T, from, to libp2phost.Host, ticket string, id protocol.FileID) network.Stream {
	t.Helper()
	introduce(from, to)
	st, err := from.NewStream(t.Context(), to.ID(), protocol.PieceProtocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Reset() })
	if err := st.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Write(frame(t, opening(ticket, id))); err != nil {
		t.Fatal(err)
	}
	return st
}

func readSeeder(t *testing.T, r *wire.Reader) *pb.FromSeeder {
	t.Helper()
	var m pb.FromSeeder
	if err := r.Read(&m); err != nil {
		t.Fatal(err)
	}
	return &m
}

// openPipe shows a good ticket by hand and reads the bitfield.
func openPipe(t *testing.T, end *pipeEnd) *wire.Reader {
	t.Helper()
	_, _ = end.Write(frame(t, opening("good", theFile)))
	r := wire.NewReader(end, protocol.MaxPieceHeader)
	readSeeder(t, r)
	return r
}
