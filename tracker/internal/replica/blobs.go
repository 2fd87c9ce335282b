package replica

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

const (
	// orphanLife is how long a manifest that no fact names is kept: its upload
	// may still be under way.
	orphanLife = 24 * time.Hour
	// orphanSweep is the pace at which such are looked for.
	orphanSweep = time.Hour
	// fetchers is how many missing manifests are fetched at a time. Each fetcher
	// may hold fetchBytes and protocol.MaxManifest of memory.
	fetchers = 4
	// fetchRun and fetchBytes bound what is stored with one commit.
	fetchRun   = 64
	fetchBytes = 4 << 20
)

// blobs knows which manifests are missing here, and which nobody names.
type blobs struct {
	wake chan struct{} // holds one

	mu      sync.Mutex
	missing map[protocol.FileID]struct{}
	orphans map[protocol.FileID]time.Time // since when
	swept   time.Time
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
		b.missing[id] = struct{}{}
	}
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *blobs) here(id protocol.FileID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.missing, id)
}

func (b *blobs) list() []protocol.FileID {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Keys(b.missing))
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
	for _, f := range facts {
		id, ok := catalog.BlobOf(f)
		if !ok || slices.Contains(ids, id) {
			continue
		}
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

// fetchNamed fetches the manifests that facts name and that are not here from
// the tracker that sent the facts.
func (r *Replica) fetchNamed(ctx context.Context, l *link, facts []catalog.Fact) error {
	return r.fetchAll(ctx, r.lacking(facts), func(id protocol.FileID) ([]byte, bool, error) {
		b, err := r.blobFrom(ctx, l, id)
		return b, false, err
	})
}

// fetchMissing fetches what is missing from any tracker, when something begins
// to be missing and then again and again.
func (r *Replica) fetchMissing() {
	tick := time.NewTicker(r.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.blobs.wake:
		case <-tick.C:
		}
		// What cannot be had now is tried again at the next tick.
		_ = r.fetchAll(r.ctx, r.blobs.list(), func(id protocol.FileID) ([]byte, bool, error) { return r.findBlob(r.ctx, id) })
	}
}

// fetch gets one manifest; known is set for one that is here already.
type fetch func(id protocol.FileID) (b []byte, known bool, err error)

// fetchAll fetches with several workers, each of which stores what it has
// fetched in runs: one commit for many small manifests. It returns one of the
// errors, if some could not be had.
func (r *Replica) fetchAll(ctx context.Context, ids []protocol.FileID, one fetch) error {
	if len(ids) == 0 {
		return nil
	}
	each := min((len(ids)+fetchers-1)/fetchers, fetchRun)
	runs := make(chan []protocol.FileID, len(ids)/each+1)
	for run := range slices.Chunk(ids, each) {
		runs <- run
	}
	close(runs)
	workers := min(fetchers, len(runs))
	failed := make(chan error, workers)
	for range workers {
		go func() {
			var err error
			for run := range runs {
				err = cmp.Or(err, r.fetchRun(ctx, run, one))
			}
			failed <- err
		}()
	}
	var err error
	for range workers {
		err = cmp.Or(err, <-failed)
	}
	return err
}

func (r *Replica) fetchRun(ctx context.Context, ids []protocol.FileID, one fetch) (failed error) {
	got, size := map[protocol.FileID][]byte{}, 0
	keep := func() {
		if err := r.keepBlobs(ctx, got); err != nil {
			log.Infow("keep manifests", "count", len(got), "err", err)
			failed = err
		}
		got, size = map[protocol.FileID][]byte{}, 0
	}
	for _, id := range ids {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b, known, err := one(id)
		if err != nil {
			log.Debugw("fetch a missing manifest", "file", id.String(), "err", err)
			failed = err
			continue
		}
		if known {
			continue
		}
		got[id] = b
		if size += len(b); size > fetchBytes {
			keep()
		}
	}
	if len(got) > 0 {
		keep()
	}
	return failed
}

// HasManifest reports whether a manifest is stored here.
func (r *Replica) HasManifest(id protocol.FileID) (bool, error) { return r.cfg.Store.HasBlob(id) }

// ManifestPart returns up to n bytes of a manifest that is stored here, from an
// offset on, and how many there are in all. ok is false if it is not here.
func (r *Replica) ManifestPart(id protocol.FileID, offset int64, n int) (part []byte, size int64, ok bool, err error) {
	return r.cfg.Store.BlobRange(id, offset, n)
}

// Manifest returns a manifest's bytes, from another tracker if need be. E_NOT_FOUND.
func (r *Replica) Manifest(ctx context.Context, id protocol.FileID) ([]byte, error) {
	b, known, err := r.findBlob(ctx, id)
	if err != nil || known {
		return b, err
	}
	if err := r.keepBlob(ctx, id, b); err != nil {
		log.Infow("keep a manifest", "file", id.String(), "err", err)
	}
	return b, nil
}

// findBlob reads a manifest here (known) or fetches it of another tracker.
func (r *Replica) findBlob(ctx context.Context, id protocol.FileID) (b []byte, known bool, err error) {
	b, known, err = r.cfg.Store.Blob(id)
	if err != nil {
		return nil, false, err
	}
	if known {
		r.blobs.here(id)
		return b, true, nil
	}
	for _, l := range r.links.connected() {
		b, err := r.blobFrom(ctx, l, id)
		if err == nil {
			return b, false, nil
		}
		log.Debugw("fetch a manifest", "tracker", l.name, "file", id.String(), "err", err)
	}
	return nil, false, protocol.Errorf(protocol.CodeNotFound, "no tracker that can be reached has the description of this file")
}

// blobFrom fetches a manifest of another tracker and checks that it is the one.
func (r *Replica) blobFrom(ctx context.Context, l *link, id protocol.FileID) ([]byte, error) {
	var out []byte
	for {
		var got *pb.Blob
		req := &pb.SyncRequest{Body: &pb.SyncRequest_GetBlob{GetBlob: &pb.GetBlob{Id: id[:], Offset: uint64(len(out))}}}
		if err := r.call(ctx, l, req, func(reply *pb.SyncReply) error { got = reply.GetBlob(); return nil }); err != nil {
			return nil, err
		}
		size := got.GetSize()
		if got == nil || size > protocol.MaxManifest || uint64(len(out)+len(got.GetData())) > size {
			return nil, errReply
		}
		out = append(out, got.GetData()...)
		if uint64(len(out)) == size {
			break
		}
		if len(got.GetData()) == 0 {
			return nil, errReply
		}
	}
	if protocol.ManifestID(out) != id {
		r.refuse(l.name, malformedMessage, errReply)
		return nil, protocol.Errorf(protocol.CodeBadManifest, "the tracker %s gave another manifest than the one asked for", l.name)
	}
	// What clients of other trackers put there was checked as well as it is here.
	if err := protocol.CheckManifest(out); err != nil {
		r.refuse(l.name, malformedMessage, err)
		return nil, fmt.Errorf("a manifest from the tracker %s: %w", l.name, err)
	}
	return out, nil
}

func (r *Replica) answerBlob(q *pb.GetBlob, out *replies) error {
	id, err := protocol.IDFromBytes[protocol.FileID](q.GetId())
	if err != nil {
		return err
	}
	if q.GetOffset() > protocol.MaxManifest {
		return protocol.Errorf(protocol.CodeUsage, "an offset behind the end")
	}
	data, size, ok, err := r.cfg.Store.BlobRange(id, int64(q.GetOffset()), protocol.BlobChunk)
	if err != nil {
		return err
	}
	if !ok {
		return protocol.Errorf(protocol.CodeNotFound, "this tracker does not have the manifest")
	}
	return out.send(&pb.SyncReply{Body: &pb.SyncReply_Blob{Blob: &pb.Blob{Size: uint64(size), Data: data}}})
}

// PutManifest stores a manifest that no fact names yet. The caller has checked
// that id is its hash. One that no fact names within a day is dropped.
func (r *Replica) PutManifest(id protocol.FileID, b []byte) error {
	r.blobs.mu.Lock()
	r.blobs.orphans[id] = time.Now()
	r.blobs.mu.Unlock()
	return r.keepBlob(r.ctx, id, b)
}

func (r *Replica) keepBlob(ctx context.Context, id protocol.FileID, b []byte) error {
	return r.keepBlobs(ctx, map[protocol.FileID][]byte{id: b})
}

func (r *Replica) keepBlobs(ctx context.Context, blobs map[protocol.FileID][]byte) error {
	err := r.change(ctx, func(t *txn) error {
		t.putBlobs(blobs)
		return nil
	})
	if err != nil {
		return err
	}
	for id := range blobs {
		r.blobs.here(id)
	}
	return nil
}

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
	kept, err := r.blobIDs()
	if err != nil {
		return err
	}
	named := map[protocol.FileID]bool{}
	r.View(func(c *catalog.Catalog) {
		for id := range c.Blobs() {
			named[id] = true
		}
	})
	old := r.blobs.unnamed(kept, named, now)
	if len(old) == 0 {
		return nil
	}
	return r.change(r.ctx, func(t *txn) error {
		late := map[protocol.FileID]bool{} // named since the look
		for id := range t.cat.Blobs() {
			late[id] = !named[id]
		}
		t.batch.DeleteBlobs = append(t.batch.DeleteBlobs, slices.DeleteFunc(old, func(id protocol.FileID) bool { return late[id] })...)
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

func (r *Replica) blobIDs() (ids []protocol.FileID, err error) {
	err = r.cfg.Store.BlobIDs(func(id protocol.FileID) error { ids = append(ids, id); return nil })
	return ids, err
}
