package filestore_test

import (
	"sync/atomic"
	"testing"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
)

// Whoever opens a partial file hears how much of it is good as that is found
// out: what the journal vouches for, and what is hashed.
func TestOpeningTellsWhatIsFound(t *testing.T) {
	content := random(40*4096+7, 1)
	m := describe("a", content, 4096)
	to, j := target(t, t.TempDir(), "a", m), &journal{}
	p := openPartial(t, to, m, j)
	write(t, p, content, 0, 1, 2, 40)
	check(t, p.Close())
	for _, tt := range []struct {
		name string
		j    *journal
	}{{"with a journal", j}, {"without", &journal{}}} {
		var found atomic.Int64
		p, err := filestore.OpenPartialTelling(t.Context(), to, m, tt.j, func(bytes int64) { found.Add(bytes) })
		check(t, err)
		check(t, p.Close())
		if found.Load() != 3*4096+7 {
			t.Errorf("%s: found %d bytes, want %d", tt.name, found.Load(), 3*4096+7)
		}
	}
}
