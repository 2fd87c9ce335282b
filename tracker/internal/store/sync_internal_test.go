package store

import (
	"path/filepath"
	"testing"
)

// Each commit is synced before it is answered, also where the file grows. That
// bbolt does so when it is not told otherwise is read off its source; cuts of
// power in tests take it for granted.
func TestCommitsAreSynced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	for _, when := range []string{"made", "opened again"} {
		b, err := OpenBolt(path)
		if err != nil {
			t.Fatal(err)
		}
		if b.db.NoSync || b.db.NoGrowSync {
			t.Errorf("%s, it has NoSync %v, NoGrowSync %v", when, b.db.NoSync, b.db.NoGrowSync)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
