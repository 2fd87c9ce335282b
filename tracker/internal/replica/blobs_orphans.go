package replica

import (
	"context"
	"slices"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

const (
	// orphanLife is how long a manifest that no fact names is kept: its upload
	// may still be under way.
	orphanLife = 24 * time.Hour
	// orphanSweep is the pace at which such are looked for.
	orphanSweep = time.Hour
)

// collectOrphans drops manifests that no fact has named for a day.
func (r *Replica) collectOrphans() {
	r.blobs.mu.Lock()
	due := time.Since(r.blobs.swept) > orphanSweep
	if due {
		r.blobs.swept = time.Now()
	}
	r.blobs.mu.Unlock()
	if !due {
		return
	}
	if err := r.sweepOrphans(time.Now()); err != nil {
		log.Infow("drop manifests that nobody names", "err", err)
	}
}

func (r *Replica) sweepOrphans(now time.Time) error {
	old, named, err := r.oldOrphans(now)
	if err != nil || len(old) == 0 {
		return err
	}
	return r.dropOrphans(old, named, now)
}

// oldOrphans returns what nobody has named for long enough, and what is named.
func (r *Replica) oldOrphans(now time.Time) (old []protocol.FileID, named map[protocol.FileID]bool, err error) {
	kept, err := r.blobIDs()
	if err != nil {
		return nil, nil, err
	}
	named = map[protocol.FileID]bool{}
	r.View(func(c *catalog.Catalog) {
		for id := range c.Blobs() {
			named[id] = true
		}
	})
	return r.blobs.unnamed(kept, named, now), named, nil
}

// dropOrphans drops those of old that were neither named nor held since the look.
func (r *Replica) dropOrphans(old []protocol.FileID, named map[protocol.FileID]bool, now time.Time) error {
	return r.change(r.ctx, func(t *txn) error {
		late := map[protocol.FileID]bool{}
		for id := range t.cat.Blobs() {
			late[id] = !named[id]
		}
		t.batch.DeleteBlobs = append(t.batch.DeleteBlobs, slices.DeleteFunc(old, func(id protocol.FileID) bool {
			return late[id] || r.blobs.age(id, now) < orphanLife
		})...)
		return nil
	})
}

// unnamed notes which of kept nobody names, and returns those for whom that
// has been so for long enough.
func (b *blobs) unnamed(kept []protocol.FileID, named map[protocol.FileID]bool, now time.Time) (old []protocol.FileID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	since := map[protocol.FileID]time.Time{}
	for _, id := range kept {
		if named[id] {
			continue
		}
		begun, ok := b.orphans[id]
		if !ok {
			begun = now
		}
		if now.Sub(begun) > orphanLife {
			old = append(old, id)
			continue
		}
		since[id] = begun
	}
	b.orphans = since
	return old
}

// age is how long nobody has named a manifest, as far as was noted: more than
// orphanLife if nothing was.
func (b *blobs) age(id protocol.FileID, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return now.Sub(b.orphans[id])
}

// HoldManifest is for who is about to name a manifest: from now on it is here
// for hours, or gone, whatever is dropped meanwhile.
func (r *Replica) HoldManifest(ctx context.Context, id protocol.FileID) error {
	if r.blobs.age(id, time.Now()) < orphanLife/2 {
		return nil
	}
	// What is being dropped is gone when the writer has come to this.
	return r.change(ctx, func(*txn) error {
		r.blobs.hold(id, time.Now())
		return nil
	})
}

// holdNamed is HoldManifest for those that facts are about to name. Those that are
// not here will be: only for others, the writer has to come by.
func (r *Replica) holdNamed(ctx context.Context, facts []catalog.Fact) error {
	now, old := time.Now(), []protocol.FileID(nil)
	for _, f := range facts {
		id, ok := catalog.BlobOf(f)
		if !ok || r.blobs.age(id, now) < orphanLife/2 {
			continue
		}
		r.blobs.hold(id, now)
		old = append(old, id)
	}
	for _, id := range old {
		if here, err := r.cfg.Store.HasBlob(id); err != nil || !here {
			continue // fetchNamed finds out
		}
		return r.change(ctx, func(*txn) error { return nil })
	}
	return nil
}

func (b *blobs) hold(id protocol.FileID, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.orphans[id] = now
}

func (r *Replica) blobIDs() (ids []protocol.FileID, err error) {
	err = r.cfg.Store.BlobIDs(func(id protocol.FileID) error { ids = append(ids, id); return nil })
	return ids, err
}
