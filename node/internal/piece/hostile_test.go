package piece_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/internal/frugal"
	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

func TestServerEndsHostileStreams(t *testing.T) {
	open := frame(t, opening("good", theFile))
	var requests []byte
	for range 2*protocol.MaxRequestsQueued + 2 {
		requests = append(requests, frame(t, request(0))...)
	}
	tests := []struct {
		name string
		sent []byte
	}{
		{name: "4 GiB announced", sent: binary.AppendUvarint(nil, 4<<30)},
		{name: "overlong length", sent: []byte{0x85, 0x80, 0x00}},
		{name: "endless length", sent: bytes.Repeat([]byte{0xff}, 64)},
		{name: "garbage", sent: append([]byte{9}, "not protobuf"...)},
		{name: "empty message", sent: []byte{0}},
		{name: "request before the opening", sent: frame(t, request(0))},
		{name: "short file id", sent: frame(t, &pb.FromLeecher{Body: &pb.FromLeecher_Open{Open: &pb.Open{FileId: []byte{1}}}})},
		{name: "long ticket", sent: frame(t, opening(string(make([]byte, protocol.MaxCredential+1)), theFile))},
		{name: "second opening", sent: slices.Concat(open, open)},
		{name: "piece out of range", sent: slices.Concat(open, frame(t, request(3)))},
		{name: "piece far out of range", sent: slices.Concat(open, frame(t, request(1<<32-1)))},
		{name: "cancel out of range", sent: slices.Concat(open, frame(t, cancel(3)))},
		{name: "too many requests", sent: slices.Concat(open, requests)},
		{name: "later length", sent: slices.Concat(open, binary.AppendUvarint(nil, 1<<20))},
	}
	from := newHost(t)
	f := newFile(3 * protocol.PieceLength)
	release := make(chan struct{})
	f.before = func(int64) error { <-release; return nil }
	defer close(release)
	s, to := seed(t, serving(f))
	introduce(from, to)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st, err := from.NewStream(t.Context(), to.ID(), protocol.PieceProtocol)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = st.Reset() }()
			if _, err := st.Write(tt.sent); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 1<<10)
			for err == nil { // the bitfield may come first
				_, err = st.Read(buf)
			}
			if !errors.Is(err, network.ErrReset) {
				t.Errorf("read: %v, want a reset", err)
			}
			// Whoever begins like that loses the connection too.
			if !bytes.HasPrefix(tt.sent, open) {
				until(t, "the connection is closed", st.Conn().IsClosed)
			}
		})
	}
	_, e := leech(t, from, to, f, "good") // the server goes on
	want[piece.Bitfield](t, e)
	// This one, and the one whose read of the file stands still. The leecher sees
	// a reset before the seeder is done with the stream.
	until(t, "the other streams are gone", func() bool { return s.Stats().Streams <= 2 })
}

func TestConnEndsHostileStreams(t *testing.T) {
	f := newFile(9*protocol.PieceLength + 1)
	piece9 := append(frame(t, hasAll(), sends(9, 1)), 7)
	tests := []struct {
		name string
		sent []byte
	}{
		{name: "4 GiB announced", sent: binary.AppendUvarint(nil, 4<<30)},
		{name: "overlong length", sent: []byte{0x85, 0x80, 0x00}},
		{name: "garbage", sent: append([]byte{9}, "not protobuf"...)},
		{name: "empty message", sent: []byte{0}},
		{name: "begins with a piece", sent: frame(t, sends(9, 1))},
		{name: "bitfield too short", sent: frame(t, has(0))},
		{name: "bitfield too long", sent: frame(t, has(0, 0, 0))},
		{name: "spare bits", sent: frame(t, has(0, 0x20))},
		{name: "complete with bits", sent: frame(t, &pb.FromSeeder{Body: &pb.FromSeeder_Bitfield{Bitfield: &pb.Bitfield{Complete: true, Bits: []byte{1}}}})},
		{name: "second bitfield", sent: frame(t, hasAll(), hasAll())},
		{name: "late refusal", sent: frame(t, hasAll(), refuses("E_INTERNAL"))},
		{name: "piece not asked for", sent: frame(t, hasAll(), sends(1, protocol.PieceLength))},
		{name: "piece twice", sent: append(piece9, frame(t, sends(9, 1))...)},
		{name: "piece out of range", sent: frame(t, hasAll(), sends(1<<32-1, 1))},
		{name: "piece too long", sent: frame(t, hasAll(), sends(9, protocol.PieceLength))},
		{name: "piece without bytes", sent: frame(t, hasAll(), sends(9, 0))},
		{name: "news out of range", sent: frame(t, hasAll(), news(10))},
		{name: "answer to nothing", sent: frame(t, hasAll(), drops(1, ""))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := hears(t, f, tt.sent, 9).closed(t); !errors.Is(err, piece.ErrViolation) {
				t.Errorf("closed with %v, want ErrViolation", err)
			}
		})
	}
}

// The codes that the scheduler makes something of arrive, others as E_INTERNAL.
func TestDroppedCodes(t *testing.T) {
	f := newFile(5 * protocol.PieceLength)
	codes := []string{"", "E_NOT_FOUND", "E_SOURCE_CHANGED", "E_BUSY", "E_AUTH"}
	sent := frame(t, hasAll())
	for i, code := range codes {
		sent = append(sent, frame(t, drops(uint32(i), code))...)
	}
	e := hears(t, f, sent, 0, 1, 2, 3, 4)
	want[piece.Bitfield](t, e)
	codes[4] = "E_INTERNAL"
	for i, code := range codes {
		if d := want[piece.Dropped](t, e); d.Piece != i || string(d.Code) != code {
			t.Errorf("got %#v, want piece %d, %q", d, i, code)
		}
	}
}

func TestConnBoundsItsOutbox(t *testing.T) {
	ours, theirs := pipe() // nobody reads
	defer theirs.Close()
	e := newEvents()
	f := newFile(protocol.PieceLength)
	c := piece.Start(ours, fetching(f, e.put))
	// The writer may take one full outbox along before it hangs, not two.
	for range 9 * protocol.MaxRequestsQueued {
		c.Request(0)
	}
	if err := e.closed(t); err == nil {
		t.Error("closed without a reason")
	}
}

func TestConnRefusesImpossibleRequests(t *testing.T) {
	ours, theirs := pipe()
	defer theirs.Close()
	e := newEvents()
	c := piece.Start(ours, fetching(newFile(1), e.put))
	c.Request(1)
	c.Cancel(0) // never asked for: nothing happens
	if err := e.closed(t); err == nil {
		t.Error("closed without a reason")
	}
}

// Whatever a leecher sends: no panic, all slots free afterwards, and what the
// server says is well formed and only answers what was asked.
func FuzzServer(f *testing.F) {
	f.Add([]byte{})
	f.Add(frame(f, opening("good", theFile), request(0), request(2)))
	f.Add(frame(f, opening("forged", theFile), request(0)))
	f.Add(frame(f, opening("good", theFile), request(1), cancel(1),
		&pb.FromLeecher{Body: &pb.FromLeecher_RenewTicket{RenewTicket: &pb.RenewTicket{Ticket: []byte("good")}}}))
	f.Add(binary.AppendUvarint(nil, 1<<40))
	content := newFile(2*protocol.PieceLength + 10)
	f.Fuzz(func(t *testing.T, sent []byte) {
		defer frugal.Check(t)()
		cfg := serving(content)
		cfg.Slots = 2
		s := piece.NewBareServer(cfg)
		st := &scripted{in: sent}
		s.Serve(st, peer.ID("hostile"))
		if _, used := s.Waiting(); used != 0 {
			t.Errorf("%d slots are in use, want none", used)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		checkSeeder(t, st.written(), content.manifest)
	})
}

// checkSeeder reads what a server wrote, up to where its stream was reset.
func checkSeeder(t *testing.T, written []byte, m *protocol.Manifest) {
	reader := wire.NewReader(bytes.NewReader(written), protocol.MaxPieceHeader)
	for {
		var msg pb.FromSeeder
		if err := reader.Read(&msg); err != nil {
			return
		}
		p := msg.GetPiece()
		if p == nil {
			continue
		}
		if int(p.GetPiece()) >= len(m.Pieces) || int64(p.GetLength()) != m.PieceSize(int(p.GetPiece())) {
			t.Fatalf("it sent %v", p)
		}
		if err := reader.ReadRaw(make([]byte, p.GetLength())); err != nil {
			return
		}
	}
}

// Whatever a seeder sends: no panic, events in their order, nothing that was
// not asked for, and Closed last.
func FuzzConn(f *testing.F) {
	f.Add([]byte{})
	f.Add(append(frame(f, hasAll(), sends(1, 3)), 1, 2, 3))
	f.Add(append(frame(f, has(0x40), waitTurn(), news(0), sends(1, 3)), 1, 2))
	f.Add(frame(f, has(0x40), drops(1, "E_NOT_FOUND")))
	f.Add(frame(f, refuses("E_SESSION")))
	m := newFile(protocol.PieceLength + 3).manifest
	f.Fuzz(func(t *testing.T, sent []byte) {
		defer frugal.Check(t)()
		var events []piece.Event
		done := make(chan struct{})
		buffers := new(piece.Buffers)
		st := &gated{scripted: scripted{in: sent}, start: make(chan struct{})}
		c := piece.Start(st, piece.OpenConfig{
			Manifest: m, File: theFile, Buffers: buffers,
			Sink: func(ev piece.Event) {
				events = append(events, ev)
				if _, ok := ev.(piece.Closed); ok {
					close(done)
				}
			},
		})
		c.Request(1)
		close(st.start)
		ctx, cancel := context.WithTimeout(t.Context(), protocol.PieceSilence)
		defer cancel()
		select {
		case <-done:
		case <-ctx.Done():
			t.Fatal("the stream does not end")
		}
		answers := 0
		for i, ev := range events {
			switch ev := ev.(type) {
			case piece.Bitfield:
				if i != 0 || !ev.Complete && len(ev.Bits) != 1 {
					t.Fatalf("event %d is %#v", i, ev)
				}
			case piece.Received:
				if answers++; ev.Piece != 1 || len(ev.Data.B) != 3 {
					t.Fatalf("received %#v", ev)
				}
				ev.Data.Release()
			case piece.Dropped:
				if answers++; ev.Piece != 1 {
					t.Fatalf("dropped %#v", ev)
				}
			case piece.Begun:
				if ev.Piece != 1 {
					t.Fatalf("begun %#v", ev)
				}
			case piece.Have:
				if ev.Piece < 0 || ev.Piece > 1 {
					t.Fatalf("news %#v", ev)
				}
			case piece.Closed:
				if i != len(events)-1 || ev.Err == nil {
					t.Fatalf("closed with %v as event %d of %d", ev.Err, i+1, len(events))
				}
			}
		}
		if answers > 1 {
			t.Fatalf("%d answers to one request", answers)
		}
	})
}
