package replica

import (
	"cmp"
	"context"
	"runtime/debug"
	"slices"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

const (
	// fetchers is how many missing manifests are fetched at a time. Each fetcher
	// may hold fetchBytes and protocol.MaxManifest of memory.
	fetchers = 4
	// fetchRun and fetchBytes bound what is stored with one commit.
	fetchRun   = 512
	fetchBytes = 4 << 20
)

// fetchNamed fetches the manifests that facts name and that are not here from
// the tracker that sent the facts. E_TRACKER_FULL, without a try, for a while
// after one did not fit.
func (r *Replica) fetchNamed(ctx context.Context, l *link, facts []catalog.Fact) error {
	ids := r.lacking(facts)
	if len(ids) > 0 && !r.blobs.mayFit(time.Now()) {
		return errNoRoom()
	}
	return r.fetchAll(ctx, ids, []*link{l})
}

// fetchMissing fetches what is missing from any tracker, when something begins
// to be missing, when a tracker comes, and then again and again, as long as there
// is room for it. A blank tracker has nobody to ask before it has caught up with
// the facts.
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
		from := r.links.connected()
		if len(from) == 0 || r.writer.full.Load() || !r.blobs.hasRoom(time.Now()) {
			continue
		}
		// What cannot be had now is tried again at the next tick.
		if protocol.CodeOf(r.fetchAll(r.ctx, r.blobs.list(), from)) != protocol.CodeTrackerFull {
			r.blobs.fitted()
		}
	}
}

// fetchAll fetches with several workers, each of which stores what it has
// fetched in runs: one commit for many small manifests. It returns one of the
// errors, if some could not be had, and ends where one cannot be stored.
func (r *Replica) fetchAll(ctx context.Context, ids []protocol.FileID, from []*link) error {
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
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	for range workers {
		go func() {
			var err error
			for run := range runs {
				if ctx.Err() != nil {
					break
				}
				err = cmp.Or(err, r.fetchRun(ctx, stop, run, from))
			}
			failed <- err
		}()
	}
	var err error
	for range workers {
		err = cmp.Or(err, <-failed)
	}
	return cmp.Or(context.Cause(ctx), err)
}

// fetchRun has a barrier: a fault over one manifest must not end the tracker. It
// calls stop if one cannot be stored.
func (r *Replica) fetchRun(ctx context.Context, stop context.CancelCauseFunc, ids []protocol.FileID, from []*link) (failed error) {
	defer func() {
		if p := recover(); p != nil {
			log.Errorw("panic over manifests", "cause", p, "stack", string(debug.Stack()))
			failed = protocol.Errorf(protocol.CodeInternal, "the tracker has met a fault of its own over manifests")
		}
	}()
	got := &fetched{r: r, stop: stop, blobs: map[protocol.FileID][]byte{}}
	left, failed := r.notHere(ids)
	unhad := errNoBlob()
	for _, l := range from {
		if len(left) == 0 || ctx.Err() != nil {
			break
		}
		var err error
		left, err = r.blobsFrom(ctx, l, left, func(id protocol.FileID, b []byte) { got.take(ctx, id, b) })
		unhad = cmp.Or(err, unhad)
	}
	got.keep(ctx)
	if len(left) > 0 {
		failed = cmp.Or(failed, unhad)
	}
	return failed
}

// notHere returns which manifests are not in the store, and notes which are.
func (r *Replica) notHere(ids []protocol.FileID) (left []protocol.FileID, failed error) {
	for _, id := range ids {
		known, err := r.cfg.Store.HasBlob(id)
		switch {
		case err != nil:
			failed = err
		case known:
			r.blobs.here(id)
		default:
			left = append(left, id)
		}
	}
	return left, failed
}

// fetched is what one worker has got and not stored yet.
type fetched struct {
	r     *Replica
	stop  context.CancelCauseFunc
	blobs map[protocol.FileID][]byte
	size  int
}

func (g *fetched) take(ctx context.Context, id protocol.FileID, b []byte) {
	g.blobs[id] = b
	if g.size += len(b); g.size > fetchBytes {
		g.keep(ctx)
	}
}

func (g *fetched) keep(ctx context.Context) {
	if len(g.blobs) == 0 {
		return
	}
	if err := g.r.keepBlobs(ctx, g.blobs); err != nil {
		log.Infow("keep manifests", "count", len(g.blobs), "err", err)
		g.stop(err)
	}
	g.blobs, g.size = map[protocol.FileID][]byte{}, 0
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
		b, _, err := r.blobFrom(ctx, l, id, nil)
		if err == nil {
			return b, false, nil
		}
		log.Debugw("fetch a manifest", "tracker", l.name, "file", id.String(), "err", err)
	}
	return nil, false, errNoBlob()
}

func errNoRoom() error {
	return protocol.Errorf(protocol.CodeTrackerFull, "this tracker has no room for the description of a file (disk); reading still works")
}

func errNoBlob() error {
	return protocol.Errorf(protocol.CodeNotFound, "no tracker that can be reached has the description of this file")
}
