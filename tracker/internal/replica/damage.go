package replica

import (
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// Done is closed once this replica does nothing any more: after Close, or because
// its store was found damaged, which Err tells. Close is to be called all the same.
func (r *Replica) Done() <-chan struct{} { return r.ctx.Done() }

// Err returns why the replica has ended by itself: E_STATE, for the operator of
// the tracker. Nil while it runs and after Close.
func (r *Replica) Err() error {
	if err := r.damage.Load(); err != nil {
		return *err
	}
	return nil
}

// whole ends the replica at the first sign of damage in its store: what has not
// been read may be damaged as well, and the other trackers have all of it. Whoever
// asks goes to one of them; what is wrong here, and where, is the operator's.
func (r *Replica) whole(err error) error {
	if protocol.CodeOf(err) != protocol.CodeState {
		return err
	}
	if r.damage.CompareAndSwap(nil, &err) {
		log.Errorw("the store is damaged; this tracker ends", "err", err)
	}
	r.cancel()
	return errClosing()
}

// guarded is the store of a replica that runs. It tells the replica of damage.
type guarded struct {
	store.Store
	whole func(error) error
}

func (g *guarded) Commit(b store.Batch) error { return g.whole(g.Store.Commit(b)) }

func (g *guarded) Records(f func(store.Record) error) error { return g.whole(g.Store.Records(f)) }

func (g *guarded) Blob(id protocol.FileID) ([]byte, bool, error) {
	b, ok, err := g.Store.Blob(id)
	return b, ok, g.whole(err)
}

func (g *guarded) BlobRange(id protocol.FileID, offset int64, n int) ([]byte, int64, bool, error) {
	b, size, ok, err := g.Store.BlobRange(id, offset, n)
	return b, size, ok, g.whole(err)
}

func (g *guarded) HasBlob(id protocol.FileID) (bool, error) {
	ok, err := g.Store.HasBlob(id)
	return ok, g.whole(err)
}

func (g *guarded) BlobIDs(f func(protocol.FileID) error) error { return g.whole(g.Store.BlobIDs(f)) }

func (g *guarded) Meta(name string) ([]byte, error) {
	v, err := g.Store.Meta(name)
	return v, g.whole(err)
}
