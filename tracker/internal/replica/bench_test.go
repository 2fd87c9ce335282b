package replica_test

import (
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// BenchmarkWrites measures changes that are on two disks when they are answered,
// and their number a second with 1 and 16 at a time.
func BenchmarkWrites(b *testing.B) {
	for _, bm := range []struct {
		name     string
		trackers int
		writers  int
	}{{"alone", 1, 1}, {"alone 16 writers", 1, 16}, {"confirmed", 2, 1}, {"confirmed 16 writers", 2, 16}} {
		b.Run(bm.name, func(b *testing.B) {
			nodes := cluster(b, bm.trackers)
			for _, nd := range nodes {
				s, err := store.OpenBolt(filepath.Join(b.TempDir(), "catalog.db"))
				if err != nil {
					b.Fatal(err)
				}
				nd.store = s
				nd.start(true, nodes...)
			}
			awaitConnected(b, nodes...)
			var n atomic.Uint32
			b.SetParallelism(bm.writers)
			b.ResetTimer()
			write := func() {
				i := n.Add(1)
				nodes[0].must(func(*catalog.Catalog) []catalog.Draft {
					return catalog.SetDisabled(protocol.UserID{byte(i), byte(i >> 8), byte(i >> 16), 1}, true)
				})
			}
			if bm.writers == 1 {
				for range b.N {
					write()
				}
				return
			}
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					write()
				}
			})
		})
	}
}
