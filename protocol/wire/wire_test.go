package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/internal/frugal"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

func TestFramesAndRawBytes(t *testing.T) {
	var stream bytes.Buffer
	header := &pb.FromSeeder{Body: &pb.FromSeeder_Piece{Piece: &pb.Piece{Piece: 7, Length: 4}}}
	if err := wire.Write(&stream, header); err != nil {
		t.Fatal(err)
	}
	stream.WriteString("data")
	if err := wire.Write(&stream, &pb.FromSeeder{Body: &pb.FromSeeder_Have{Have: &pb.Have{Piece: 8}}}); err != nil {
		t.Fatal(err)
	}
	r := wire.NewReader(&stream, protocol.MaxPieceHeader)
	got := new(pb.FromSeeder)
	if err := r.Read(got); err != nil || !proto.Equal(got, header) {
		t.Fatalf("got %v, %v", got, err)
	}
	raw := make([]byte, got.GetPiece().GetLength())
	if err := r.ReadRaw(raw); err != nil || string(raw) != "data" {
		t.Fatalf("got %q, %v", raw, err)
	}
	if err := r.Read(got); err != nil || got.GetHave().GetPiece() != 8 {
		t.Fatalf("got %v, %v", got, err)
	}
	if err := r.Read(got); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: got %v, want EOF", err)
	}
}

func TestLengths(t *testing.T) {
	tests := []struct {
		name, bytes string
		want        error
	}{
		{"four gigabytes", "ffffffff0f", wire.ErrTooLong},
		{"sixteen exabytes", "ffffffffffffffffff01", wire.ErrTooLong},
		{"one over the limit", "e907", wire.ErrTooLong},
		{"overlong one", "8100", wire.ErrTooLong},
		{"never ending", strings.Repeat("80", 64), wire.ErrTooLong},
		{"cut in the length", "80", io.ErrUnexpectedEOF},
		{"cut in the message", "0508", io.ErrUnexpectedEOF},
		{"nothing", "", io.EOF},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b, err := hex.DecodeString(test.bytes)
			if err != nil {
				t.Fatal(err)
			}
			if err := wire.NewReader(bytes.NewReader(b), 1000).Read(new(pb.FromLeecher)); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// TestGolden fixes the encodings that another implementation must make.
func TestGolden(t *testing.T) {
	stamp := &pb.Stamp{WallMs: 1_800_000_000_000, Logical: 2, Origin: "t"}
	tests := []struct {
		name string
		m    proto.Message
		want string
	}{
		{"open", &pb.FromLeecher{Body: &pb.FromLeecher_Open{Open: &pb.Open{Ticket: []byte{1}, FileId: []byte{2}}}}, "080a060a0101120102"},
		{"request", &pb.FromLeecher{Body: &pb.FromLeecher_Request{Request: &pb.Request{Piece: 300}}}, "05120308ac02"},
		{"cancel", &pb.FromLeecher{Body: &pb.FromLeecher_Cancel{Cancel: &pb.Cancel{Piece: 1}}}, "041a020801"},
		{"renew", &pb.FromLeecher{Body: &pb.FromLeecher_RenewTicket{RenewTicket: &pb.RenewTicket{Ticket: []byte{9}}}}, "0522030a0109"},
		{"bitfield", &pb.FromSeeder{Body: &pb.FromSeeder_Bitfield{Bitfield: &pb.Bitfield{Bits: []byte{0x80}}}}, "050a03120180"},
		{"have", &pb.FromSeeder{Body: &pb.FromSeeder_Have{Have: &pb.Have{Piece: 5}}}, "0412020805"},
		{"piece", &pb.FromSeeder{Body: &pb.FromSeeder_Piece{Piece: &pb.Piece{Piece: 5, Length: 524_288}}}, "081a06080510808020"},
		{"dropped", &pb.FromSeeder{Body: &pb.FromSeeder_Dropped{Dropped: &pb.Dropped{Piece: 5}}}, "0422020805"},
		{"wait", &pb.FromSeeder{Body: &pb.FromSeeder_WaitTurn{WaitTurn: &pb.WaitTurn{}}}, "022a00"},
		{"refused", &pb.FromSeeder{Body: &pb.FromSeeder_Refused{Refused: &pb.Refused{Code: "E_NOT_MEMBER"}}}, "1032" + "0e0a0c" + hex.EncodeToString([]byte("E_NOT_MEMBER"))},
		{"fact", &pb.Fact{Key: "k", Value: []byte{1}, Stamp: stamp}, "140a016b1201011a0c0880a0f1c2b13410021a0174"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b, err := wire.Append(nil, test.m)
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(b); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	cause := errors.New("open /secret/path: permission denied")
	f := wire.ToFailure(&protocol.Error{Code: protocol.CodeRate, Msg: "too many attempts", RetryAfter: 2 * time.Second, Err: cause}, "r1")
	err := wire.FromFailure(f)
	var e *protocol.Error
	if !errors.As(err, &e) || e.Code != protocol.CodeRate || e.RetryAfter != 2*time.Second || e.Msg != "too many attempts" {
		t.Errorf("got %#v", err)
	}
	for _, unforeseen := range []error{cause, protocol.Errorf(protocol.CodeInternal, "at %w", cause)} {
		f = wire.ToFailure(unforeseen, "r2")
		if strings.Contains(f.GetMessage(), "secret") || !strings.Contains(f.GetMessage(), "r2") || f.GetCode() != "E_INTERNAL" {
			t.Errorf("got %v", f)
		}
	}
	if err := wire.FromFailure(&pb.Failure{Code: "E_NAME", Message: "a\x1b[2Jb"}); strings.Contains(err.Error(), "\x1b") {
		t.Errorf("a tracker's text drives the terminal: %q", err)
	}
	if err := wire.FromFailure(nil); err != nil {
		t.Errorf("got %v", err)
	}
	for code, want := range map[string]protocol.Code{
		"E_OF_A_NEWER_TRACKER": "E_OF_A_NEWER_TRACKER", "": "E_INTERNAL", "E_": "E_INTERNAL", "E_\x1b[2J": "E_INTERNAL",
		"name": "E_INTERNAL", "E_\u202e": "E_INTERNAL", "E_" + strings.Repeat("X", 31): "E_INTERNAL",
	} {
		if got := protocol.CodeOf(wire.FromFailure(&pb.Failure{Code: code})); got != want {
			t.Errorf("the code %q becomes %q, want %q", code, got, want)
		}
	}
}

func TestElements(t *testing.T) {
	if err := wire.CheckElements(0, 1000); err != nil {
		t.Error(err)
	}
	if err := wire.CheckElements(0, 1001); protocol.CodeOf(err) != protocol.CodeLimit {
		t.Errorf("got %v, want E_LIMIT", err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("\x08\x0a\x06\x0a\x01\x01\x12\x01\x02"))
	f.Add([]byte("\xff\xff\xff\xff\x0f"))
	f.Add([]byte("\x81\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer frugal.Check(t)()
		for _, m := range []proto.Message{new(pb.FromLeecher), new(pb.FromSeeder), new(pb.SyncRequest), new(pb.SyncReply), new(pb.Gossip)} {
			r := wire.NewReader(bytes.NewReader(b), 1<<10)
			for range 16 {
				if r.Read(m) != nil {
					break
				}
			}
		}
	})
}

// Whatever a tracker says went wrong, it is fit to be shown.
func FuzzFailure(f *testing.F) {
	for _, m := range []*pb.Failure{
		{Code: "E_NAME", Message: "not allowed", RetryAfterMs: 5},
		{Code: "\x1b[2J", Message: "\u202e", RetryAfterMs: -1 << 63},
		{},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		defer frugal.Check(t)()
		m := new(pb.Failure)
		if proto.Unmarshal(b, m) != nil {
			return
		}
		err := wire.FromFailure(m)
		if text := err.Error() + string(protocol.CodeOf(err)); protocol.Printable(text) != text || protocol.CodeOf(err) == "" {
			t.Errorf("%v becomes %q", m, text)
		}
	})
}
