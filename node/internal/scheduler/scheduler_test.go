package scheduler_test

import (
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/p2pshare/p2pshare/node/internal/scheduler"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestMain(m *testing.M) {
	// A run takes a tenth of a millisecond: afford many.
	if err := flag.Set("rapid.checks", "1000"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func drawBits(t *rapid.T, n int) []byte {
	return rapid.SliceOfN(rapid.Byte(), 0, (n+7)/8).Draw(t, "bits")
}

// TestInvariants drives a scheduler with everything that may happen, in any
// order, and after that with one honest peer that has the whole file.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "pieces")
		cfg := scheduler.Config{
			Size:        int64(n)*length - rapid.Int64Range(0, length-1).Draw(t, "short"),
			PieceLength: length,
			Have:        drawBits(t, n),
			Budget:      rapid.Int64Range(1, 12).Draw(t, "budget") * length,
			Seed:        rapid.Uint64().Draw(t, "seed"),
			Rate:        rapid.Int64Range(0, 2).Draw(t, "rate") * length,
		}
		m := newModel(t, cfg)
		ids := []scheduler.Peer{"a", "b", "c", "d", "e", "f"}
		peer := rapid.SampledFrom(ids)
		piece := rapid.IntRange(-1, n)
		code := rapid.SampledFrom([]protocol.Code{"", protocol.CodeBusy, protocol.CodeNotFound})
		step := func(ev scheduler.Event) { m.step(ev) }
		request := func(t *rapid.T) (scheduler.Fetch, bool) {
			all := m.asked()
			if len(all) == 0 {
				return scheduler.Fetch{}, false
			}
			return rapid.SampledFrom(all).Draw(t, "request"), true
		}
		verdict := func(t *rapid.T) (int, bool) {
			all := m.verifying()
			if len(all) == 0 {
				return 0, false
			}
			return rapid.SampledFrom(all).Draw(t, "verdict"), true
		}
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				step(scheduler.PeerJoined{Peer: peer.Draw(t, "peer"), Bits: drawBits(t, n)})
			},
			"join complete": func(t *rapid.T) {
				step(scheduler.PeerJoined{Peer: peer.Draw(t, "peer"), Complete: true})
			},
			"has": func(t *rapid.T) {
				step(scheduler.PeerHas{Peer: peer.Draw(t, "peer"), Piece: piece.Draw(t, "piece")})
			},
			"leave": func(t *rapid.T) { step(scheduler.PeerLeft{Peer: peer.Draw(t, "peer")}) },
			"begin": func(t *rapid.T) {
				if r, ok := request(t); ok {
					step(scheduler.PieceBegun(r))
				}
			},
			"receive": func(t *rapid.T) {
				if r, ok := request(t); ok {
					step(scheduler.PieceReceived{Peer: r.Peer, Piece: r.Piece, RTT: time.Duration(rapid.IntRange(0, 200).Draw(t, "rtt")) * time.Millisecond})
				}
			},
			"fail": func(t *rapid.T) {
				if r, ok := request(t); ok {
					step(scheduler.FetchFailed{Peer: r.Peer, Piece: r.Piece, Code: code.Draw(t, "code")})
				}
			},
			"verified": func(t *rapid.T) {
				if i, ok := verdict(t); ok {
					step(scheduler.PieceVerified{Piece: i})
				}
			},
			"corrupt": func(t *rapid.T) {
				if i, ok := verdict(t); ok {
					step(scheduler.PieceCorrupt{Piece: i})
				}
			},
			"unsaved": func(t *rapid.T) {
				if i, ok := verdict(t); ok {
					step(scheduler.PieceUnsaved{Piece: i})
				}
			},
			"nonsense": func(t *rapid.T) {
				p, i := peer.Draw(t, "peer"), piece.Draw(t, "piece")
				step(rapid.SampledFrom([]scheduler.Event{
					scheduler.PieceBegun{Peer: p, Piece: i},
					scheduler.PieceReceived{Peer: p, Piece: i},
					scheduler.FetchFailed{Peer: p, Piece: i},
					scheduler.PieceVerified{Piece: i},
					scheduler.PieceCorrupt{Piece: i},
				}).Draw(t, "event"))
			},
			"time": func(t *rapid.T) {
				m.now += time.Duration(rapid.IntRange(0, 20_000).Draw(t, "ms")) * time.Millisecond
				step(scheduler.Tick{})
			},
			"pause":  func(*rapid.T) { step(scheduler.Paused{Code: protocol.CodeDiskFull, Message: "full"}) },
			"resume": func(*rapid.T) { step(scheduler.Resumed{}) },
			"budget": func(t *rapid.T) {
				step(scheduler.Budget{Bytes: rapid.Int64Range(1, 12).Draw(t, "pieces") * length})
			},
		})
		finish(t, m)
	})
}

// finish lets one honest peer answer and nobody else, and waits for the end.
func finish(t fatalist, m *model) {
	m.step(scheduler.Resumed{})
	m.step(scheduler.PeerJoined{Peer: "honest", Complete: true})
	for range 3600 {
		if m.ended != nil {
			break
		}
		m.now += time.Second
		m.step(scheduler.Tick{})
		for _, r := range m.asked() {
			if r.Peer == "honest" && m.ended == nil {
				m.step(scheduler.PieceReceived{Peer: r.Peer, Piece: r.Piece, RTT: time.Millisecond})
			}
		}
		for _, i := range m.verifying() {
			m.step(scheduler.PieceVerified{Piece: i})
		}
	}
	switch end := m.ended.(type) {
	case scheduler.Finish:
	case scheduler.Fail:
		if end.Err.Code != protocol.CodeBadData {
			t.Fatalf("failed with %v", end.Err)
		}
	default:
		t.Fatalf("not finished after an hour with an honest peer; asked %v", m.asked())
	}
}
