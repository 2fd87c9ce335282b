package catalog_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// bigNetwork is n facts or a few more: users with names and groups, a group in
// thirty with members, and shared files.
func bigNetwork(n int) []catalog.Fact {
	var out []catalog.Fact
	c := catalog.New()
	wall := int64(1_700_000_000_000)
	do := func(ds []catalog.Draft) {
		wall++
		for _, d := range ds {
			f := catalog.Fact{Key: d.Key, Value: d.Value, Stamp: protocol.Stamp{Wall: wall, Origin: "12D3KooWA"}}
			_, _ = c.Merge(f)
			out = append(out, f)
		}
	}
	id := func(kind byte, i int) (b [32]byte) {
		b[0] = kind
		binary.BigEndian.PutUint64(b[1:], uint64(i)*0x9E3779B97F4A7C15)
		return b
	}
	user := func(i int) protocol.UserID { b := id(1, i); return protocol.UserID(b[:16]) }
	group := func(i int) protocol.GroupID { b := id(2, i); return protocol.GroupID(b[:16]) }
	for i := 0; len(out) < n; i++ {
		do(catalog.NewAccount(user(i), fmt.Sprintf("user-%d", i), "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))
		do(catalog.NewSession(user(i), catalog.Session{ID: protocol.SessionID(user(i)), Device: "linux", Since: wall, Until: wall + 30*24*60*minute}))
		if i%30 == 0 {
			do(catalog.NewGroup(group(i/30), fmt.Sprintf("Group %d", i/30), user(i)))
		}
		g := group(i / 30)
		do(catalog.SetRequest(g, user(i), catalog.RequestOpen))
		do(c.Grant(g, user(i)))
		for j := range 4 {
			s := catalog.Share{Group: g, File: id(3, i*10+j), User: user(i), Peer: fmt.Sprintf("12D3KooWClient%d", i)}
			do(c.ShareFile(s, manifest(fmt.Sprintf("Lecture %d-%d.pdf", i, j)), 200))
		}
	}
	return out
}

func BenchmarkMerge100k(b *testing.B) {
	all := bigNetwork(100_000)
	b.ReportAllocs()
	for b.Loop() {
		c := catalog.New()
		for _, f := range all {
			if _, err := c.Merge(f); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(all)), "ns/fact")
}

func BenchmarkGroupPage(b *testing.B) {
	c := catalog.New()
	mustMerge(b, c, bigNetwork(100_000)...)
	for b.Loop() {
		n := 0
		for range c.Groups("group 3") {
			if n++; n == protocol.PageSize {
				break
			}
		}
	}
}

// A tracker with 100,000 facts may take 250 MiB. At 1,000 B each, the catalog
// leaves most of it to others. Measured: 500.
func TestMemory(t *testing.T) {
	const most = 1_000
	all := bigNetwork(20_000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := catalog.New()
	for _, f := range all {
		// As they come from disk or network: nothing in common with other facts.
		mustMerge(t, c, catalog.Fact{
			Key:   catalog.Key(append([]byte(nil), f.Key...)),
			Value: slices.Clone(f.Value),
			Stamp: protocol.Stamp{Wall: f.Stamp.Wall, Logical: f.Stamp.Logical, Origin: string([]byte(f.Stamp.Origin))},
		})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / int64(c.Len())
	t.Logf("%d facts take %d B each", c.Len(), each)
	if each > most {
		t.Errorf("%d B for each fact, want at most %d", each, most)
	}
	if got := c.Root().Facts; got != c.Len() {
		t.Errorf("%d facts in the digests, want %d", got, c.Len())
	}
}
