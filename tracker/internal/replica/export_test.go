package replica

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// Adopt makes id the network of a tracker that may be blank.
func (r *Replica) Adopt(ctx context.Context, id protocol.NetworkID) error {
	return r.AdoptSince(ctx, id, r.Undone())
}

// AdoptSince is Adopt at the end of an exchange, before which undone was read.
func (r *Replica) AdoptSince(ctx context.Context, id protocol.NetworkID, undone uint64) error {
	return r.adopt(ctx, id, r.nothingUndone(undone))
}

// Note has a named value stored, as any change is.
func (r *Replica) Note(ctx context.Context, name string) error {
	return r.change(ctx, func(t *txn) error { t.putMeta(name, nil); return nil })
}

// IsLevel reports whether it is known that another tracker has what this one has.
func (r *Replica) IsLevel() bool {
	r.proofs.mu.Lock()
	defer r.proofs.mu.Unlock()
	return r.proofs.level
}

// Queued returns how many changes wait for the writer.
func (r *Replica) Queued() int { return len(r.writer.jobs) }

// RefusedOf returns how much of what a tracker sent was refused, by reason.
func (r *Replica) RefusedOf(from string) map[string]uint64 {
	r.refused.mu.Lock()
	defer r.refused.mu.Unlock()
	out := map[string]uint64{}
	for k, seen := range r.refused.seen {
		if k.from == from {
			out[string(k.why)] = seen.count
		}
	}
	return out
}

// StoreTogether has another tracker store changes that share one call, and
// returns what came of each.
func (r *Replica) StoreTogether(ctx context.Context, at peer.ID, changes ...[]catalog.Fact) (errs []error) {
	var batch []*confirmation
	for _, facts := range changes {
		batch = append(batch, &confirmation{facts: facts, done: make(chan outcome, 1)})
	}
	r.store(ctx, r.links.get(at), batch)
	for _, c := range batch {
		errs = append(errs, (<-c.done).err)
	}
	return errs
}

// SweepAfter drops what nobody has named for a day, as if d had gone by since the
// manifests came. before is called ahead of the look, between behind it.
func (r *Replica) SweepAfter(d time.Duration, before, between func()) error {
	r.blobs.mu.Lock()
	for id, at := range r.blobs.orphans {
		r.blobs.orphans[id] = at.Add(-d)
	}
	r.blobs.mu.Unlock()
	before()
	now := time.Now()
	old, named, err := r.oldOrphans(now)
	if err != nil {
		return err
	}
	between()
	return r.dropOrphans(old, named, now)
}

// MayBegin reports whether a tracker that was started then would begin its network now.
func (r *Replica) MayBegin(begun time.Time) bool { return r.mayBegin(begun) }

// RoomCame has what did not fit be tried again.
func (r *Replica) RoomCame() { r.blobs.roomCame() }

// Rank is the place of a tracker in the order that a name is reserved in.
func Rank(k catalog.Key, tracker string) []byte { return rank(k, tracker) }
