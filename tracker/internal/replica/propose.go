package replica

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// maxTries is how often a proposal may turn out to claim other names than it
// has reserved, because the catalog changed meanwhile.
const maxTries = 4

// claimsError ends a try of a proposal that claims names it has not reserved.
type claimsError struct{ claims []catalog.Key }

func (e *claimsError) Error() string { return "names to reserve" }

// written is what came of a proposal here.
type written struct {
	facts []catalog.Fact
	stamp protocol.Stamp
	proof chan struct{} // of facts, to be ended; nil if there are none
}

// Propose makes a change: reserves its names, builds, stamps, stores, merges,
// has a second tracker store it (protocol.ConfirmTimeout), spreads it by
// gossip. E_EXISTS if a name is reserved or held elsewhere, and nothing was
// stored. A proposal that builds nothing is stored already. E_BUSY: nothing was
// stored either. E_TRACKER_FULL: the disk refused, and nothing is in the catalog
// but what is found on it then; the same request again finds that out.
func (r *Replica) Propose(ctx context.Context, p Proposal) (Stored, error) {
	if err := r.Serving(); err != nil {
		return Stored{}, err
	}
	if r.writer.full.Load() {
		return Stored{}, errFull()
	}
	held := new(reservation)
	for range maxTries {
		stop := r.holding(held) //nolint:contextcheck // it outlives the call
		s, err := r.stored(ctx, p, held)
		stop()
		if missing, ok := errors.AsType[*claimsError](err); ok {
			if err = r.reserve(ctx, held, missing.claims); err == nil {
				continue
			}
		}
		if err != nil {
			r.giveBack(held) //nolint:contextcheck // it outlives the call
			return Stored{}, err
		}
		r.names.release(held.token)
		return s, nil
	}
	r.giveBack(held) //nolint:contextcheck // it outlives the call
	return Stored{}, busy("the catalog changes too fast for this request")
}

// stored writes a proposal whose names are reserved by held, and has another
// tracker confirm it.
func (r *Replica) stored(ctx context.Context, p Proposal, held *reservation) (Stored, error) {
	w, err := r.write(ctx, p, held)
	if err != nil {
		return Stored{}, err
	}
	s := r.confirmed(ctx, w, held.at)
	r.proofs.end(w.proof, s.On > 1)
	return s, nil
}

// write builds and stores a proposal whose names are reserved by held.
func (r *Replica) write(ctx context.Context, p Proposal, held *reservation) (w written, err error) {
	err = r.change(ctx, func(t *txn) error {
		drafts, err := p.Build(t.cat)
		if err != nil {
			return err
		}
		if err := checkClaims(t.cat, drafts, held); err != nil {
			return err
		}
		facts, stamp, err := r.stamp(t, drafts)
		if err != nil {
			return err
		}
		t.putBlobs(p.Blobs)
		w.stamp = stamp
		if len(facts) > 0 {
			w.proof = r.proofs.begin()
		}
		for _, f := range facts {
			if err := t.merge(f, true); err != nil {
				return err
			}
			if now, ok := t.cat.Get(f.Key); ok {
				w.facts = append(w.facts, now)
			}
		}
		return nil
	})
	if err != nil {
		r.proofs.end(w.proof, false)
	}
	return w, err
}

// checkClaims refuses drafts whose names are not reserved, or held by now.
func checkClaims(c *catalog.Catalog, drafts []catalog.Draft, held *reservation) error {
	claims := catalog.NameClaims(drafts)
	for _, k := range claims {
		if c.ClaimHeld(k) {
			return errTaken(k)
		}
	}
	if slices.ContainsFunc(claims, func(k catalog.Key) bool { return !slices.Contains(held.keys, k) }) {
		return &claimsError{claims}
	}
	// It must not run out at the other tracker before that one has the claim.
	if len(claims) > 0 && time.Since(held.since) > protocol.ReserveLife-protocol.ConfirmTimeout {
		return busy("reserving the name took too long")
	}
	return nil
}

// stamp turns drafts into facts, all of one stamp, that are fit to be merged.
func (r *Replica) stamp(t *txn, drafts []catalog.Draft) ([]catalog.Fact, protocol.Stamp, error) {
	if len(drafts) == 0 {
		return nil, r.clock.now(t.wall), nil
	}
	var latest protocol.Stamp
	for _, d := range drafts {
		if f, ok := t.cat.Get(d.Key); ok && f.Stamp.After(latest) {
			latest = f.Stamp
		}
	}
	s := r.clock.next(t.wall, latest)
	facts := make([]catalog.Fact, len(drafts))
	for i, d := range drafts {
		facts[i] = catalog.Fact{Key: d.Key, Value: d.Value, Stamp: s}
		if err := catalog.Check(facts[i]); err != nil {
			return nil, s, &protocol.Error{Code: protocol.CodeInternal, Msg: "a change that the catalog cannot hold", Err: err}
		}
	}
	return facts, s, nil
}
