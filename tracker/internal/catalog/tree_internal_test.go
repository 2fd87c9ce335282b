package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/p2pshare/p2pshare/protocol"
)

func TestOrdered(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var got ordered
		want := make(map[string]bool)
		name := rapid.Custom(func(rt *rapid.T) string { return fmt.Sprintf("%03d", rapid.IntRange(0, 999).Draw(rt, "n")) })
		if rapid.Bool().Draw(rt, "large") {
			for i := range 2 * chunkSize {
				s := fmt.Sprintf("%03d", i*7%1000)
				got.insert(s)
				want[s] = true
			}
		}
		for range rapid.IntRange(0, 200).Draw(rt, "steps") {
			s := name.Draw(rt, "name")
			if rapid.Bool().Draw(rt, "insert") {
				got.insert(s)
				want[s] = true
			} else {
				got.remove(s)
				delete(want, s)
			}
		}
		from := rapid.OneOf(name, rapid.Just(""), rapid.Just("x")).Draw(rt, "from")
		sorted := slices.Sorted(maps.Keys(want))
		sorted = slices.DeleteFunc(sorted, func(s string) bool { return s < from })
		if list := slices.Collect(got.from(from)); !slices.Equal(list, sorted) {
			rt.Fatalf("from %q: %v, want %v", from, list, sorted)
		}
		for _, c := range got.chunks {
			if len(c) == 0 || len(c) > chunkSize {
				rt.Fatalf("a chunk of %d", len(c))
			}
		}
	})
}

// The facts of one user in one group never part, however many they are.
func TestBucketAtTheBottom(t *testing.T) {
	c := New()
	var g protocol.GroupID
	var u protocol.UserID
	const n = 300
	merge := func(wall int64, ds ...Draft) {
		t.Helper()
		for _, d := range ds {
			if _, err := c.Merge(Fact{Key: d.Key, Value: d.Value, Stamp: protocol.Stamp{Wall: wall, Origin: "A"}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	merge(1, c.Grant(g, u)...)
	share := func(i int) Share {
		return Share{Group: g, File: protocol.FileID{byte(i), byte(i >> 8)}, User: u, Peer: "p"}
	}
	for i := range n {
		merge(2, draft(shareKey(share(i)), shareValue{on: true}))
	}
	prefix := ""
	for range MaxDepth {
		kids := c.Children(prefix)
		if len(kids) != 1 || kids[0].Facts != n+1 || kids[0].Digest != c.Root().Digest {
			t.Fatalf("under %x: %+v, want one node with all", prefix, kids)
		}
		prefix = kids[0].Prefix
	}
	if got := len(slices.Collect(c.FactsUnder(prefix))); got != n+1 {
		t.Errorf("%d facts at the bottom, want %d", got, n+1)
	}
	if got := slices.Collect(c.FactsUnder(strings.Repeat("\x0f", MaxDepth+1))); got != nil {
		t.Errorf("facts below the bottom: %v", got)
	}
	before := c.Root()
	for i := range n {
		merge(3, c.StopShare(share(i))...)
	}
	if c.Root() == before || c.Root().Facts != n+1 || len(c.SharesOf(u)) != 0 {
		t.Errorf("after the end of all: %+v, %d shares", c.Root(), len(c.SharesOf(u)))
	}
}
