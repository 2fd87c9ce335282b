package replica

import (
	"math"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"

	"github.com/p2pshare/p2pshare/protocol"
)

func TestHybridNext(t *testing.T) {
	tests := []struct {
		name  string
		last  protocol.Stamp
		wall  int64
		after protocol.Stamp
		want  protocol.Stamp
	}{
		{"first", protocol.Stamp{}, 10, protocol.Stamp{}, protocol.Stamp{Wall: 10}},
		{"wall went on", protocol.Stamp{Wall: 9, Logical: 5}, 10, protocol.Stamp{}, protocol.Stamp{Wall: 10}},
		{"same millisecond", protocol.Stamp{Wall: 10, Logical: 5}, 10, protocol.Stamp{}, protocol.Stamp{Wall: 10, Logical: 6}},
		{"wall went back", protocol.Stamp{Wall: 20}, 10, protocol.Stamp{}, protocol.Stamp{Wall: 20, Logical: 1}},
		{"wall was far ahead", protocol.Stamp{Wall: 700_000}, 10, protocol.Stamp{}, protocol.Stamp{Wall: 120_010, Logical: 1}},
		{"replaces a later one", protocol.Stamp{Wall: 5}, 10, protocol.Stamp{Wall: 30, Logical: 2}, protocol.Stamp{Wall: 30, Logical: 3}},
		{"logical is used up", protocol.Stamp{Wall: 10, Logical: math.MaxUint32}, 10, protocol.Stamp{}, protocol.Stamp{Wall: 11}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := hybrid{origin: "o", last: test.last}
			test.want.Origin = "o"
			if got := h.next(test.wall, test.after); got != test.want {
				t.Errorf("next = %v, want %v", got, test.want)
			}
		})
	}
}

// TestHybridOrder checks that whatever happens, stamps rise, are never before
// what was observed within bounds, and run at most maxLead ahead by observing.
func TestHybridOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := hybrid{origin: "o"}
		wall := int64(1_000_000)
		var last protocol.Stamp
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			wall += rapid.Int64Range(-1_000, 1_000).Draw(t, "drift")
			if rapid.Bool().Draw(t, "observe") {
				s := protocol.Stamp{
					Wall:    wall + rapid.Int64Range(-500_000, 500_000).Draw(t, "ahead"),
					Logical: rapid.Uint32().Draw(t, "logical"), Origin: "x",
				}
				h.observe(wall, s)
				if n := h.now(wall); s.Wall < wall+maxLead.Milliseconds() && (n.Wall < s.Wall || n.Wall == s.Wall && n.Logical < s.Logical) {
					t.Fatalf("now %v is before the observed %v", n, s)
				}
				continue
			}
			got := h.next(wall, protocol.Stamp{})
			if !got.After(last) {
				t.Fatalf("%v is not after %v", got, last)
			}
			if h.now(wall) != got {
				t.Fatalf("now %v differs from the last stamp %v", h.now(wall), got)
			}
			last = got
		}
		if lead := last.Wall - wall; lead > maxLead.Milliseconds()+40_000 {
			t.Fatalf("%d ms ahead", lead)
		}
	})
}

func TestIsFuture(t *testing.T) {
	wall := time.Now().UnixMilli()
	limit := wall + maxAhead.Milliseconds()
	if isFuture(wall, protocol.Stamp{Wall: limit}) || !isFuture(wall, protocol.Stamp{Wall: limit + 1}) {
		t.Error("the limit is not at 5 minutes")
	}
}

// A machine that wakes finds its wall clock hours ahead of when it heard others
// last: that is no fault of its clock. One that was set wrong shows when others are
// heard again.
func TestWakingIsNoClockFault(t *testing.T) {
	moved := time.Duration(0)
	r := &Replica{cfg: Config{Now: func() time.Time { return time.Now().Add(moved) }}}
	l := &link{id: "other", connected: true}
	r.links.byID = map[peer.ID]*link{l.id: l}
	l.noteClock(time.Now(), r.cfg.Now())
	moved = -8 * time.Hour // of two, only one that is behind stops
	if err := r.clockFault(); err != nil {
		t.Errorf("a clock that has moved since others were heard: %v", err)
	}
	l.noteClock(time.Now(), r.cfg.Now())
	if code := protocol.CodeOf(r.clockFault()); code != protocol.CodeBusy {
		t.Errorf("a clock that is behind the other's: %q, want %s", code, protocol.CodeBusy)
	}
}
