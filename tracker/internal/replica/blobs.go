package replica

import (
	"bytes"
	"context"
	"crypto/subtle"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// blobs knows which manifests are missing here, and which nobody names.
type blobs struct {
	wake chan struct{} // holds one

	mu      sync.Mutex
	missing map[protocol.FileID]struct{}
	digest  protocol.FileID               // exclusive or of all that are missing
	orphans map[protocol.FileID]time.Time // since when
	swept   time.Time
	noRoom  pause
}

func newBlobs() *blobs {
	return &blobs{
		wake:    make(chan struct{}, 1),
		missing: map[protocol.FileID]struct{}{},
		orphans: map[protocol.FileID]time.Time{},
		swept:   time.Now(),
	}
}

func (b *blobs) add(ids []protocol.FileID) {
	if len(ids) == 0 {
		return
	}
	b.mu.Lock()
	for _, id := range ids {
		if _, known := b.missing[id]; !known {
			b.missing[id] = struct{}{}
			subtle.XORBytes(b.digest[:], b.digest[:], id[:])
		}
	}
	b.mu.Unlock()
	b.fetchSoon()
}

// missingDigest tells what is missing from a set that misses something else; nil
// if nothing is.
func (b *blobs) missingDigest() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.missing) == 0 {
		return nil
	}
	return bytes.Clone(b.digest[:])
}

func (b *blobs) fetchSoon() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *blobs) here(id protocol.FileID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.missing[id]; known {
		delete(b.missing, id)
		subtle.XORBytes(b.digest[:], b.digest[:], id[:])
	}
}

// list is in order: what is stored together is then together in the store as well,
// and a commit writes few of its pages.
func (b *blobs) list() []protocol.FileID {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.SortedFunc(maps.Keys(b.missing), func(a, b protocol.FileID) int { return bytes.Compare(a[:], b[:]) })
}

// findMissing looks for manifests that facts name and the store lacks.
func (r *Replica) findMissing() error {
	var ids []protocol.FileID
	for id := range r.state.cat.Blobs() {
		ok, err := r.cfg.Store.HasBlob(id)
		if err != nil {
			return fmt.Errorf("look for manifests: %w", err)
		}
		if !ok {
			ids = append(ids, id)
		}
	}
	r.blobs.add(ids)
	return nil
}

// noteBlobs notes which manifests of changed facts are missing.
func (r *Replica) noteBlobs(facts []catalog.Fact) { r.blobs.add(r.lacking(facts)) }

// lacking returns the manifests that facts name and that are not here.
func (r *Replica) lacking(facts []catalog.Fact) (ids []protocol.FileID) {
	seen := map[protocol.FileID]bool{}
	for _, f := range facts {
		id, ok := catalog.BlobOf(f)
		if !ok || seen[id] {
			continue
		}
		seen[id] = true
		has, err := r.cfg.Store.HasBlob(id)
		if err != nil {
			log.Errorw("look for a manifest", "file", id.String(), "err", err)
			continue
		}
		if !has {
			ids = append(ids, id)
		}
	}
	return ids
}

// HasManifest reports whether a manifest is stored here.
func (r *Replica) HasManifest(id protocol.FileID) (bool, error) { return r.cfg.Store.HasBlob(id) }

// ManifestPart returns up to n bytes of a manifest that is stored here, from an
// offset on, and how many there are in all. ok is false if it is not here.
func (r *Replica) ManifestPart(id protocol.FileID, offset int64, n int) (part []byte, size int64, ok bool, err error) {
	return r.cfg.Store.BlobRange(id, offset, n)
}

// Manifest returns a manifest's bytes. One that is not here is fetched from
// another tracker, and stored if there is room for it. E_NOT_FOUND.
func (r *Replica) Manifest(ctx context.Context, id protocol.FileID) ([]byte, error) {
	b, known, err := r.findBlob(ctx, id)
	if err != nil || known || !r.blobs.hasRoom(time.Now()) {
		return b, err
	}
	switch err := r.keepBlob(ctx, id, b); {
	case protocol.CodeOf(err) == protocol.CodeTrackerFull:
		log.Debugw("hand out a manifest that is not kept", "file", id.String(), "err", err)
	case err != nil:
		return nil, err
	}
	return b, nil
}

// PutManifest stores a manifest that no fact names yet. The caller has checked
// that id is its hash. One that no fact names within a day is dropped.
// E_TRACKER_FULL, without a try, for a while after one did not fit.
func (r *Replica) PutManifest(id protocol.FileID, b []byte) error {
	if !r.blobs.mayFit(time.Now()) {
		return errNoRoom()
	}
	r.blobs.hold(id, time.Now())
	return r.keepBlob(r.ctx, id, b)
}

func (r *Replica) keepBlob(ctx context.Context, id protocol.FileID, b []byte) error {
	return r.keepBlobs(ctx, map[protocol.FileID][]byte{id: b})
}

func (r *Replica) keepBlobs(ctx context.Context, blobs map[protocol.FileID][]byte) error {
	tried := false
	err := r.change(ctx, func(t *txn) error {
		tried = true
		t.putBlobs(blobs)
		return nil
	})
	if err != nil {
		if tried && protocol.CodeOf(err) == protocol.CodeTrackerFull {
			r.blobs.lackRoom(time.Now())
		}
		return err
	}
	for id := range blobs {
		r.blobs.here(id)
	}
	return nil
}
