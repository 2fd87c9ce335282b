package scheduler_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/scheduler"
	"github.com/p2pshare/p2pshare/protocol"
)

// BenchmarkStep measures one piece from request to verdict, two steps, with
// the most pieces that a file may have and 50 peers.
func BenchmarkStep(b *testing.B) {
	const pieces, peers = protocol.MaxPieces, 50
	every := func(k int) []byte {
		bits := make([]byte, pieces/8)
		for i := range bits {
			bits[i] = [...]byte{0xff, 0x55, 0x92, 0x01}[k%4]
		}
		return bits
	}
	prefix := func(n int) []byte {
		bits := make([]byte, pieces/8)
		for i := range n / 8 {
			bits[i] = 0xff
		}
		return bits
	}
	tests := []struct {
		name string
		join func(k int) scheduler.PeerJoined
	}{
		{"all complete", func(int) scheduler.PeerJoined { return scheduler.PeerJoined{Complete: true} }},
		{"random parts", func(k int) scheduler.PeerJoined { return scheduler.PeerJoined{Bits: every(k)} }},
		{"one complete, others the same third", func(k int) scheduler.PeerJoined {
			return scheduler.PeerJoined{Complete: k == 0, Bits: prefix(pieces / 3)}
		}},
	}
	for _, tt := range tests {
		b.Run(tt.name, func(b *testing.B) {
			var s *scheduler.Scheduler
			var queue []scheduler.Fetch
			take := func(effects []scheduler.Effect) {
				for _, e := range effects {
					if f, ok := e.(scheduler.Fetch); ok {
						queue = append(queue, f)
					}
				}
			}
			reset := func() {
				s = scheduler.New(scheduler.Config{Size: pieces * length, PieceLength: length, Budget: 64 * length, Seed: 1})
				queue = nil
				for k := range peers {
					ev := tt.join(k)
					ev.Peer = scheduler.Peer(fmt.Sprint("peer", k))
					take(s.Step(0, ev))
				}
			}
			reset()
			done := 0
			var now time.Duration
			for b.Loop() {
				if len(queue) == 0 || done == pieces/2 {
					b.StopTimer()
					reset()
					done = 0
					b.StartTimer()
				}
				f := queue[0]
				queue = queue[1:]
				now += time.Millisecond
				take(s.Step(now, scheduler.PieceReceived{Peer: f.Peer, Piece: f.Piece, RTT: time.Millisecond}))
				take(s.Step(now, scheduler.PieceVerified{Piece: f.Piece}))
				done++
			}
		})
	}
}
