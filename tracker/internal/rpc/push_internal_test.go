package rpc

import (
	"fmt"
	"slices"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
)

func TestSomeAreTold(t *testing.T) {
	var all []string
	for i := range 4 * protocol.MaxSeeders {
		all = append(all, fmt.Sprintf("p%03d", i))
	}
	told := map[string]bool{}
	for range 100 {
		got := some(slices.Clone(all))
		slices.Sort(got)
		if len(got) != protocol.MaxSeeders || len(slices.Compact(got)) != protocol.MaxSeeders {
			t.Fatalf("%d are told, want %d different ones", len(got), protocol.MaxSeeders)
		}
		for _, p := range got {
			told[p] = true
		}
	}
	// That one of 200 is never among the 50 has a chance of 200 * 0.75^100.
	if len(told) != len(all) {
		t.Errorf("%d of %d are ever told", len(told), len(all))
	}
	few := all[:3]
	if got := some(slices.Clone(few)); len(got) != len(few) {
		t.Errorf("%d of %d are told", len(got), len(few))
	}
}
