package replica

import (
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// doubt is a fact that may be on disk or not.
type doubt struct {
	key   catalog.Key
	stamp protocol.Stamp
	own   bool
}

// doubt notes what a commit that failed was to store.
func (w *writer) doubt(t *txn) {
	w.stale = true
	s := &w.r.state
	s.mu.RLock()
	defer s.mu.RUnlock()
	facts, _ := t.result(s.cat)
	w.doubtful = w.doubtful[:0]
	for _, f := range facts {
		w.doubtful = append(w.doubtful, doubt{f.Key, f.Stamp, t.last[f.Key].own})
	}
}

// resolve tells of those doubtful facts that turned out to be on disk: whoever
// made them was told of a failure, but they count, here and after a restart.
func (w *writer) resolve() {
	var facts, own []catalog.Fact
	w.r.View(func(c *catalog.Catalog) {
		for _, d := range w.doubtful {
			f, ok := c.Get(d.key)
			if !ok || f.Stamp != d.stamp {
				continue
			}
			facts = append(facts, f)
			if d.own {
				own = append(own, f)
			}
		}
	})
	w.doubtful = nil
	w.tell(facts, own)
}

// heal makes the catalog what the store holds after a failed commit, and opens
// the store for changes again once it takes a value.
func (w *writer) heal() {
	if !w.full.Load() || w.r.Err() != nil {
		return
	}
	if w.stale {
		if err := w.readAgain(1); err != nil {
			log.Errorw("read the catalog again after a failed commit", "err", err)
			return
		}
		w.stale = false
		w.resolve()
		return // the store has its next chance at the next tick
	}
	probe := store.Batch{Meta: map[string][]byte{metaProbe: []byte(time.Now().UTC().Format(time.RFC3339Nano))}}
	if err := w.store(probe); err != nil {
		log.Infow("store still takes no changes", "err", err)
		w.disk.refused(err, time.Now())
		w.stuck = true
		return
	}
	w.full.Store(false)
	if w.stuck {
		w.stuck = false
		w.r.blobs.roomCame()
	}
	log.Warnw("store takes changes again")
}

// readAgain makes the catalog what the store holds; undone is 1 if views may have
// shown more than that.
func (w *writer) readAgain(undone uint64) error {
	cat, err := w.r.readCatalog()
	if err != nil {
		return err
	}
	var facts []catalog.Fact
	for _, d := range w.doubtful {
		if f, ok := cat.Get(d.key); ok {
			facts = append(facts, f)
		}
	}
	w.r.noteBlobs(facts) // before the root shows that these facts are here
	s := &w.r.state
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cat, s.pending, s.root = cat, nil, cat.Root().Digest
	s.undone += undone
	s.ended()
	return nil
}
