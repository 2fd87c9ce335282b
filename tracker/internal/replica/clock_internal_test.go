package replica

import (
	"math"
	"testing"
	"time"

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
