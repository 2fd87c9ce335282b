package replica

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

const (
	// fetchers is how many missing manifests are fetched at a time. Each fetcher
	// may hold fetchBytes and protocol.MaxManifest of memory.
	fetchers = 4
	// fetchRun and fetchBytes bound what is stored with one commit.
	fetchRun   = 64
	fetchBytes = 4 << 20
)

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

// fetchRun has a barrier: a fault over one manifest must not end the tracker.
func (r *Replica) fetchRun(ctx context.Context, ids []protocol.FileID, one fetch) (failed error) {
	defer func() {
		if p := recover(); p != nil {
			log.Errorw("panic over manifests", "cause", p, "stack", string(debug.Stack()))
			failed = protocol.Errorf(protocol.CodeInternal, "the tracker has met a fault of its own over manifests")
		}
	}()
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
		if err := r.bulkCall(ctx, l, req, func(reply *pb.SyncReply) error { got = reply.GetBlob(); return nil }); err != nil {
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
