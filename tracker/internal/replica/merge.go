package replica

import (
	"context"
	"fmt"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// mergeAll takes facts of other trackers in, in one commit. Those from the future
// wait outside.
func (r *Replica) mergeAll(ctx context.Context, facts []catalog.Fact) error {
	now, _ := r.present(facts)
	if len(now) == 0 {
		return nil
	}
	return r.change(ctx, func(t *txn) error {
		t.mergeChecked(now)
		return nil
	})
}

// mergePushed is mergeAll for facts that a tracker sends unasked. Those are
// new; what is older than what is held here was sent before. waiting is how
// many are from the future.
func (r *Replica) mergePushed(ctx context.Context, from string, facts []catalog.Fact) (waiting int, err error) {
	now, waiting := r.present(facts)
	if len(now) == 0 && len(facts) > 0 {
		return waiting, nil
	}
	return waiting, r.change(ctx, func(t *txn) error {
		t.mergePushed(from, now)
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

// mergePushed is mergeChecked, and notes which facts were replayed.
func (t *txn) mergePushed(from string, facts []catalog.Fact) {
	for _, f := range facts {
		if held, ok := t.cat.Get(f.Key); ok && held.Stamp.After(f.Stamp) {
			t.outdated = append(t.outdated, outdated{from, f.Key})
		}
	}
	t.mergeChecked(facts)
}

// outdated is a fact that came when a later one was held. For kinds of which
// the earliest counts, it is none of the replayed ones.
type outdated struct {
	from string
	key  catalog.Key
}

// refuseOutdated counts those that the merge has not taken in.
func (r *Replica) refuseOutdated(t *txn) {
	for _, o := range t.outdated {
		if _, taken := t.last[o.key]; !taken {
			r.refuse(o.from, replayed, fmt.Errorf("fact %s", protocol.Quote(string(o.key))))
		}
	}
}

// fromFacts converts facts of another tracker; malformed ones are skipped and counted.
func (r *Replica) fromFacts(from string, in []*pb.Fact) (facts []catalog.Fact, malformed int) {
	for _, f := range in {
		fact, err := fromFact(f)
		if err != nil {
			why := malformedFact
			if len(f.GetValue()) > protocol.MaxFactValue {
				why = oversized
			}
			r.refuse(from, why, err)
			malformed++
			continue
		}
		facts = append(facts, fact)
	}
	return facts, malformed
}
