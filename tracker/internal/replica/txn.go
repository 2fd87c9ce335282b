package replica

import (
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// txn is what the jobs of one commit change together.
type txn struct {
	cat     *catalog.Catalog
	wall    int64
	batch   store.Batch
	changed []catalog.Key // in order; a key changed twice stands there twice
	last    map[catalog.Key]change
	network protocol.NetworkID // that this tracker is part of once this is stored; zero: as before
	// outdated came of other trackers unasked, and may be replayed.
	outdated []outdated
}

// change is where in txn.changed the last change of a key is, and whose it was.
type change struct {
	at  int
	own bool
}

// merge joins a fact in. own facts are spread to the others by gossip.
func (t *txn) merge(f catalog.Fact, own bool) error {
	changed, err := t.cat.Merge(f)
	if !changed || err != nil {
		return err
	}
	t.last[f.Key] = change{at: len(t.changed), own: own}
	t.changed = append(t.changed, f.Key)
	return nil
}

func (t *txn) putBlobs(blobs map[protocol.FileID][]byte) {
	for id, b := range blobs {
		if t.batch.Blobs == nil {
			t.batch.Blobs = map[protocol.FileID][]byte{}
		}
		t.batch.Blobs[id] = b
	}
}

// adopt names the network in the same commit.
func (t *txn) adopt(id protocol.NetworkID) {
	t.network = id
	t.putMeta(metaNetwork, id[:])
}

func (t *txn) putMeta(name string, v []byte) {
	if t.batch.Meta == nil {
		t.batch.Meta = map[string][]byte{}
	}
	t.batch.Meta[name] = v
}

// result returns the facts that the transaction left in the catalog, and those of
// them that were made here. The lock of the catalog is held.
func (t *txn) result(c *catalog.Catalog) (facts, own []catalog.Fact) {
	for i, k := range t.changed {
		if t.last[k].at != i {
			continue
		}
		if f, ok := c.Get(k); ok {
			facts = append(facts, f)
			if t.last[k].own {
				own = append(own, f)
			}
		}
	}
	return facts, own
}
