package swarm

import (
	"math"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/protocol"
)

type still struct {
	manifest *protocol.Manifest
	complete bool
	bits     []byte
}

func (s still) Manifest() *protocol.Manifest         { return s.manifest }
func (s still) Have() (bool, []byte)                 { return s.complete, s.bits }
func (s still) Verify(int, []byte) filestore.Verdict { return filestore.Good }
func (s still) Store(int, []byte) error              { return nil }

func TestMeterStartsWithWhatIsThere(t *testing.T) {
	m := &protocol.Manifest{Size: 11*1000 - 1, PieceLength: 1000, Pieces: make([]protocol.PieceHash, 11)}
	tests := []struct {
		name     string
		complete bool
		bits     []byte
		have     int
		done     int64
	}{
		{name: "nothing"},
		{name: "complete", complete: true, have: 11, done: 10_999},
		{name: "first and last", bits: []byte{0x80, 0x20}, have: 2, done: 1_999},
		{name: "bits behind the end", bits: []byte{0, 0x1f, 0xff}},
		{name: "short field", bits: []byte{0x03}, have: 2, done: 2_000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := newMeter(still{m, tt.complete, tt.bits}, time.Time{})
			if got.have != tt.have || got.done != tt.done {
				t.Errorf("got %d pieces and %d bytes, want %d and %d", got.have, got.done, tt.have, tt.done)
			}
		})
	}
}

func TestMeterRate(t *testing.T) {
	m := &protocol.Manifest{Size: 1 << 30, PieceLength: 1 << 20, Pieces: make([]protocol.PieceHash, 1<<10)}
	now := time.Now()
	meter := newMeter(still{manifest: m}, now)
	for i := range 100 { // 10 MiB/s for 10 s
		now = now.Add(100 * time.Millisecond)
		meter.verified(Peer{ID: peer.ID("a")}, i, now)
		if rate := meter.rate(now) / (10 << 20); i > 10 && math.Abs(rate-1) > 0.15 {
			t.Fatalf("after %d pieces: %.2f of the rate", i, rate)
		}
	}
	if eta := meter.snapshot(now).ETA; eta < 85*time.Second || eta > 100*time.Second {
		t.Errorf("924 MiB at 10 MiB/s: ETA %v", eta)
	}
	if got := meter.rate(now.Add(2500 * time.Millisecond)); got < 4<<20 || got > 6<<20 {
		t.Errorf("after half of the span without pieces: %.0f", got)
	}
	if got := meter.rate(now.Add(time.Hour)); got != 0 {
		t.Errorf("after an hour without pieces: %.0f", got)
	}
}

func TestMailboxKeepsTheLatestWord(t *testing.T) {
	m := newMailbox()
	m.offer(Peer{ID: "a", User: "ada"})
	m.offer(Peer{ID: "b"})
	m.withdraw("b")
	m.withdraw("c")
	m.offer(Peer{ID: "c"})
	m.renew([]byte("old"))
	m.renew([]byte("new"))
	notices, ticket := m.read()
	if string(ticket) != "new" || len(notices) != 3 {
		t.Fatalf("got %d notices and ticket %q", len(notices), ticket)
	}
	if n := notices[0]; !n.offered || n.again || n.peer.User != "ada" {
		t.Errorf("a: got %+v", n)
	}
	if n := notices[1]; n.offered || n.peer.ID != "b" {
		t.Errorf("b: got %+v", n)
	}
	if n := notices[2]; !n.offered || !n.again {
		t.Errorf("c: got %+v", n)
	}
	for i := range 2 * maxKnown {
		m.offer(Peer{ID: peer.ID(rune(i))})
	}
	if notices, ticket = m.read(); len(notices) != maxKnown || ticket != nil {
		t.Errorf("got %d notices and ticket %q, want %d and none", len(notices), ticket, maxKnown)
	}
}
