package replica

import (
	"context"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// mergeAll takes facts of other trackers in, in one commit, with the manifests
// given. waiting is how many are from the future and wait outside.
func (r *Replica) mergeAll(ctx context.Context, facts []catalog.Fact, blobs map[protocol.FileID][]byte) (waiting int, err error) {
	now, waiting := r.present(facts)
	if len(now)+len(blobs) == 0 {
		return waiting, nil
	}
	return waiting, r.change(ctx, func(t *txn) error {
		t.putBlobs(blobs)
		t.mergeChecked(now)
		return nil
	})
}

// present returns the facts that are not from the future; the others are held.
func (r *Replica) present(facts []catalog.Fact) (now []catalog.Fact, waiting int) {
	wall := r.wall()
	for _, f := range facts {
		if r.later.hold(wall, f) {
			waiting++
			continue
		}
		now = append(now, f)
	}
	return now, waiting
}

// mergeChecked merges facts that fromFact has checked.
func (t *txn) mergeChecked(facts []catalog.Fact) {
	for _, f := range facts {
		if err := t.merge(f, false); err != nil {
			log.Debugw("skip a fact", "err", err)
		}
	}
}

// fromFacts converts facts of another tracker; malformed ones are skipped and counted.
func fromFacts(from string, in []*pb.Fact) (facts []catalog.Fact, malformed int) {
	for _, f := range in {
		fact, err := fromFact(f)
		if err != nil {
			log.Warnw("skip a malformed fact", "tracker", from, "err", err)
			malformed++
			continue
		}
		facts = append(facts, fact)
	}
	return facts, malformed
}
