package scheduler_test

import (
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/scheduler"
)

// turnBad lets peer p answer n rounds of requests well over a long fat way, and from
// then on everything badly, with the verdicts late: what it has sent by then
// is wasted.
func turnBad(m *model, p scheduler.Peer, n int) {
	m.step(scheduler.PeerJoined{Peer: p, Complete: true})
	for range n {
		m.now += 100 * time.Millisecond
		for _, r := range m.asked() {
			m.step(scheduler.PieceReceived{Peer: r.Peer, Piece: r.Piece, RTT: 100 * time.Millisecond})
			m.step(scheduler.PieceVerified{Piece: r.Piece})
		}
	}
	for range 1000 {
		m.now += time.Millisecond
		for _, r := range m.asked() {
			m.step(scheduler.PieceReceived{Peer: r.Peer, Piece: r.Piece, RTT: 100 * time.Millisecond})
		}
	}
	for _, i := range m.verifying() {
		m.step(scheduler.PieceCorrupt{Piece: i})
	}
}

// A peer that turns bad after it has earned a large window wastes at most
// 8 MiB, its return after the first ban included.
func TestWasteOfACorruptPeerIsBounded(t *testing.T) {
	const most = 8 << 20
	m := newModel(t, scheduler.Config{Size: 1000 * length, PieceLength: length, Budget: 64 << 20, Seed: 1})
	turnBad(m, "p", 20)
	if got := m.sched.Wasted(); got == 0 || got > most {
		t.Errorf("wasted %d bytes, want at most %d", got, most)
	}
	m.now += 10*time.Minute + time.Second
	turnBad(m, "p", 20)
	if got := m.sched.Wasted(); got > most {
		t.Errorf("wasted %d bytes after its return, want at most %d", got, most)
	}
	m.now += time.Hour
	if e := m.step(scheduler.PeerJoined{Peer: "p", Complete: true}); len(e) != 1 || e[0].(scheduler.Ban).For < 22*time.Hour {
		t.Errorf("its third coming gave %v", e)
	}
	finish(t, m)
}
