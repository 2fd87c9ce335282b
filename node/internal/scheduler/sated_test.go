package scheduler_test

import (
	"slices"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/scheduler"
)

// TestSatedYields: two pieces that arrive take all of a known rate, so that what
// waits elsewhere is taken back; and is asked for again when one of them is
// there, or when they take longer than that rate would.
func TestSatedYields(t *testing.T) {
	const second = int64(length) // of a limit of one piece a second
	begin := func(rate int64) (*model, int) {
		m := newModel(t, scheduler.Config{Size: 40 * length, PieceLength: length, Budget: 32 * length, Seed: 1, Rate: rate})
		for _, id := range []scheduler.Peer{"a", "b", "c", "d"} {
			m.step(scheduler.PeerJoined{Peer: id, Complete: true})
		}
		asked := m.asked()
		reclaimed := 0
		for _, id := range []scheduler.Peer{"a", "b"} {
			i := slices.IndexFunc(asked, func(f scheduler.Fetch) bool { return f.Peer == id })
			for _, e := range m.step(scheduler.PieceBegun{Peer: id, Piece: asked[i].Piece}) {
				if r, ok := e.(scheduler.Reclaim); ok {
					reclaimed++
					defer m.step(scheduler.FetchFailed{Peer: r.Peer, Piece: r.Piece})
				}
			}
		}
		return m, reclaimed
	}
	if _, n := begin(0); n != 0 {
		t.Errorf("%d requests taken back without a known rate", n)
	}
	m, n := begin(second)
	if all := 4*2 - 2; n != all {
		t.Fatalf("%d requests taken back, want all %d that wait", n, all)
	}
	if got := len(m.asked()); got != 2 {
		t.Fatalf("%d requests out beside what arrives, want none", got-2)
	}
	m.now += 2 * time.Second
	if fetches(m.step(scheduler.Tick{})) != 0 {
		t.Error("asked for more while two pieces arrive as fast as they may")
	}
	m.now += 3 * time.Second
	if fetches(m.step(scheduler.Tick{})) == 0 {
		t.Error("nothing is asked for although two slow peers do not fill the rate")
	}
	m, _ = begin(second)
	done := m.asked()[0]
	if fetches(m.step(scheduler.PieceReceived{Peer: done.Peer, Piece: done.Piece})) == 0 {
		t.Error("nothing is asked for although one piece is there")
	}
}

// TestSatedFarAway: where the nearest peer is a quarter of a second away, and two
// and a half pieces may arrive in that time, two that arrive are not enough.
func TestSatedFarAway(t *testing.T) {
	m := newModel(t, scheduler.Config{Size: 80 * length, PieceLength: length, Budget: 64 * length, Seed: 1, Rate: 10 * length})
	peers := []scheduler.Peer{"a", "b", "c", "d", "e", "f", "g", "h"}
	for _, id := range peers {
		m.step(scheduler.PeerJoined{Peer: id, Complete: true})
	}
	oldest := func(id scheduler.Peer) int {
		asked := m.asked()
		return asked[slices.IndexFunc(asked, func(f scheduler.Fetch) bool { return f.Peer == id })].Piece
	}
	m.now += time.Second
	m.step(scheduler.PieceReceived{Peer: "a", Piece: oldest("a"), RTT: 250 * time.Millisecond})
	for i, id := range peers[:6] {
		reclaims := 0
		for _, e := range m.step(scheduler.PieceBegun{Peer: id, Piece: oldest(id)}) {
			if _, ok := e.(scheduler.Reclaim); ok {
				reclaims++
			}
		}
		if sated := i == 5; sated != (reclaims > 0) {
			t.Errorf("%d pieces arrive: %d requests taken back", i+1, reclaims)
		}
	}
}

func fetches(effects []scheduler.Effect) (n int) {
	for _, e := range effects {
		if _, ok := e.(scheduler.Fetch); ok {
			n++
		}
	}
	return n
}
