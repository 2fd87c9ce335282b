package piece_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestWholeFile(t *testing.T) {
	tests := []struct {
		name string
		size int64
	}{
		{name: "empty", size: 0},
		{name: "one byte", size: 1},
		{name: "one piece less one", size: protocol.PieceLength - 1},
		{name: "one piece", size: protocol.PieceLength},
		{name: "one piece and one", size: protocol.PieceLength + 1},
		{name: "many", size: 40*protocol.PieceLength + 777},
	}
	from := newHost(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFile(tt.size)
			s, to := seed(t, serving(f))
			c, e := leech(t, from, to, f, "good")
			if b := want[piece.Bitfield](t, e); !b.Complete || b.Bits != nil {
				t.Fatalf("bitfield %v, want complete", b)
			}
			got := make([]byte, tt.size)
			for i := range f.manifest.Pieces {
				c.Request(i)
			}
			for range f.manifest.Pieces {
				r := want[piece.Received](t, e)
				copy(got[f.manifest.PieceOffset(r.Piece):], r.Data.B)
				if int64(len(r.Data.B)) != f.manifest.PieceSize(r.Piece) || r.Took < 0 {
					t.Errorf("piece %d: %d bytes in %v", r.Piece, len(r.Data.B), r.Took)
				}
				r.Data.Release()
			}
			if !bytes.Equal(got, f.data) {
				t.Error("the copy differs")
			}
			// Bytes count once their write is back, which may be after they are here.
			until(t, "all bytes and one stream are counted", func() bool { return s.Stats() == piece.Stats{Bytes: tt.size, Streams: 1} })
			if tt.size > 0 && c.RTT() <= 0 {
				t.Error("no round-trip time is known")
			}
			c.Close()
			if err := e.closed(t); err != nil {
				t.Errorf("closed with %v, want nil", err)
			}
			until(t, "the seeder sees the end", func() bool { return s.Stats().Streams == 0 })
			if _, used := s.Waiting(); used != 0 {
				t.Errorf("%d slots are in use, want none", used)
			}
		})
	}
}

func TestGrowingContent(t *testing.T) {
	f := newFile(10 * protocol.PieceLength)
	f.partial = true
	f.have[2] = true
	_, to := seed(t, serving(f))
	c, e := leech(t, newHost(t), to, f, "good")
	if b := want[piece.Bitfield](t, e); b.Complete || !bytes.Equal(b.Bits, []byte{0x20, 0}) {
		t.Fatalf("bitfield %v, want piece 2", b)
	}
	c.Request(7)
	if d := want[piece.Dropped](t, e); d.Piece != 7 || d.Code != protocol.CodeNotFound {
		t.Errorf("dropped %+v, want piece 7 with E_NOT_FOUND", d)
	}
	f.add(2) // known already
	f.add(7)
	if h := want[piece.Have](t, e); h.Piece != 7 {
		t.Fatalf("news of piece %d, want 7", h.Piece)
	}
	c.Request(7)
	r := want[piece.Received](t, e)
	if r.Piece != 7 || !bytes.Equal(r.Data.B, f.piece(7)) {
		t.Error("piece 7 is not what it should be")
	}
}

// That a piece is under way is told before its bytes are there.
func TestBegun(t *testing.T) {
	f := newFile(2 * protocol.PieceLength)
	release := make(chan struct{})
	f.before = func(off int64) error {
		if off > protocol.PieceLength { // in the middle of piece 1
			<-release
		}
		return nil
	}
	_, to := seed(t, serving(f))
	from := newHost(t)
	introduce(from, to)
	begun, rest := make(chan piece.Begun, 2), newEvents()
	cfg := fetching(f, func(ev piece.Event) {
		if b, ok := ev.(piece.Begun); ok {
			begun <- b
			return
		}
		rest.put(ev)
	})
	cfg.Host, cfg.Peer = from, to.ID()
	c, err := piece.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		c.Close()
		_ = rest.closed(t)
	}()
	want[piece.Bitfield](t, rest)
	c.Request(1)
	if b := <-begun; b.Piece != 1 {
		t.Errorf("begun %+v", b)
	}
	close(release)
	want[piece.Received](t, rest).Data.Release()
}

func TestCancel(t *testing.T) {
	f := newFile(4 * protocol.PieceLength)
	release := make(chan struct{})
	f.before = func(int64) error { <-release; return nil }
	s, to := seed(t, serving(f))
	c, e := leech(t, newHost(t), to, f, "good")
	want[piece.Bitfield](t, e)
	for i := range 4 {
		c.Request(i)
	}
	until(t, "three requests wait", func() bool { n, _ := s.Waiting(); return n == 3 })
	c.Cancel(0) // it is being sent
	c.Cancel(2)
	c.Cancel(3)
	until(t, "one request waits", func() bool { n, _ := s.Waiting(); return n == 1 })
	close(release)
	got := map[int]string{}
	for range 4 {
		switch ev := e.next(t).(type) {
		case piece.Received:
			got[ev.Piece] += "received"
		case piece.Dropped:
			got[ev.Piece] += "dropped" + string(ev.Code)
		default:
			t.Fatalf("event %#v", ev)
		}
	}
	for i, want := range []string{"received", "received", "dropped", "dropped"} {
		if got[i] != want {
			t.Errorf("piece %d was %q, want %q", i, got[i], want)
		}
	}
}

// A leecher that asks for much and reads nothing loses its stream and its
// slot, also where its multiplexer has taken some of it.
func TestSlowReaderOnARealConnection(t *testing.T) {
	f := newFile(32 * protocol.PieceLength)
	s, to := seed(t, serving(f).WithSilence(400*time.Millisecond))
	st := rawOpen(t, newHost(t), to, "good", theFile)
	for i := range uint32(32) {
		if _, err := st.Write(frame(t, request(i))); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the stream begins", func() bool { return s.Stats().Bytes > 0 })
	until(t, "the stream ends", func() bool { return s.Stats().Streams == 0 })
	if _, used := s.Waiting(); used != 0 {
		t.Errorf("%d slots are in use, want none", used)
	}
	if sent := s.Stats().Bytes; sent >= 16<<20 {
		t.Errorf("%d bytes went to a leecher that read nothing", sent)
	}
}

func TestTransferOverQUIC(t *testing.T) {
	f := newFile(20*protocol.PieceLength + 5)
	_, to := seed(t, serving(f))
	from := newHost(t)
	var quic []ma.Multiaddr
	for _, addr := range to.Addrs() {
		if _, err := addr.ValueForProtocol(ma.P_QUIC_V1); err == nil {
			quic = append(quic, addr)
		}
	}
	if err := from.Connect(t.Context(), peer.AddrInfo{ID: to.ID(), Addrs: quic}); err != nil {
		t.Fatal(err)
	}
	c, e := leech(t, from, to, f, "good")
	want[piece.Bitfield](t, e)
	for i := range f.manifest.Pieces {
		c.Request(i)
	}
	for range f.manifest.Pieces {
		r := want[piece.Received](t, e)
		if !bytes.Equal(r.Data.B, f.piece(r.Piece)) {
			t.Errorf("piece %d differs", r.Piece)
		}
		r.Data.Release()
	}
	_, refused := leech(t, from, to, f, "forged")
	if end := want[piece.Closed](t, refused); protocol.CodeOf(end.Err) != protocol.CodeNotMember {
		t.Errorf("closed with %v, want E_NOT_MEMBER", end.Err)
	}
}

func TestSourceFails(t *testing.T) {
	tests := []struct {
		name string
		at   int64
		err  error
		want piece.Event
	}{
		{name: "changed before the first byte", at: 0, err: protocol.Errorf(protocol.CodeSourceChanged, "changed"), want: piece.Dropped{Code: protocol.CodeSourceChanged}},
		{name: "gone before the first byte", at: 0, err: protocol.Errorf(protocol.CodeNotFound, "gone"), want: piece.Dropped{Code: protocol.CodeNotFound}},
		{name: "cut before the first byte", at: 0, err: io.EOF, want: piece.Dropped{Code: protocol.CodeSourceChanged}},
		{name: "disk before the first byte", at: 0, err: errors.New("input/output error of /home/secret"), want: piece.Dropped{Code: protocol.CodeInternal}},
		{name: "within", at: 128 << 10, err: protocol.Errorf(protocol.CodeSourceChanged, "changed"), want: piece.Closed{}},
	}
	from := newHost(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFile(protocol.PieceLength)
			f.before = func(off int64) error {
				if off >= tt.at {
					return tt.err
				}
				return nil
			}
			_, to := seed(t, serving(f))
			c, e := leech(t, from, to, f, "good")
			want[piece.Bitfield](t, e)
			c.Request(0)
			switch got := e.next(t).(type) {
			case piece.Closed:
				if _, ok := tt.want.(piece.Closed); !ok || got.Err == nil {
					t.Errorf("closed with %v, want %#v", got.Err, tt.want)
				}
			default:
				if got != tt.want {
					t.Errorf("event %#v, want %#v", got, tt.want)
				}
			}
		})
	}
}

func TestStreamsOfOnePeer(t *testing.T) {
	f := newFile(1)
	s, to := seed(t, serving(f))
	from := newHost(t)
	var open []*piece.Conn
	var streams []*events
	for range protocol.MaxPieceStreamsPerPeer {
		c, e := leech(t, from, to, f, "good")
		want[piece.Bitfield](t, e)
		open, streams = append(open, c), append(streams, e)
	}
	_, e := leech(t, from, to, f, "good")
	if end := want[piece.Closed](t, e); protocol.CodeOf(end.Err) != protocol.CodeBusy {
		t.Errorf("one stream too many was closed with %v", end.Err)
	}
	if n := s.Stats().Streams; n != protocol.MaxPieceStreamsPerPeer {
		t.Errorf("%d streams are counted", n)
	}
	_, e = leech(t, newHost(t), to, f, "good")
	want[piece.Bitfield](t, e)
	open[0].Close()
	if err := streams[0].closed(t); err != nil {
		t.Error(err)
	}
	until(t, "room for another", func() bool { return s.Stats().Streams == protocol.MaxPieceStreamsPerPeer })
	_, e = leech(t, from, to, f, "good")
	want[piece.Bitfield](t, e)
}

func TestOpenToNobody(t *testing.T) {
	from := newHost(t)
	other := newHost(t) // no piece server
	introduce(from, other)
	cfg := fetching(newFile(1), func(ev piece.Event) { t.Errorf("event %#v", ev) })
	cfg.Host, cfg.Peer = from, other.ID()
	_, err := piece.Open(t.Context(), cfg)
	if err == nil {
		t.Error("opened a stream to a host without a piece server")
	}
}

func BenchmarkTransfer(b *testing.B) {
	f := newFile(256 * protocol.PieceLength)
	_, to := seed(b, serving(f))
	c, e := leech(b, newHost(b), to, f, "good")
	want[piece.Bitfield](b, e)
	b.SetBytes(protocol.PieceLength)
	b.ResetTimer()
	asked := 0
	for done := 0; done < b.N; done++ {
		for ; asked < b.N && asked-done < 8; asked++ {
			c.Request(asked % len(f.manifest.Pieces))
		}
		want[piece.Received](b, e).Data.Release()
	}
}
