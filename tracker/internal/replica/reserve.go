package replica

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/zeebo/blake3"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

const (
	// maxReserved bounds the names reserved at a time; more are refused.
	maxReserved = 10_000
	// renewReservation is the pace at which a reservation is renewed while its
	// change is being stored: two may be missed.
	renewReservation = protocol.ReserveLife / 3
)

// reservation is what a proposal has reserved. It belongs to the proposal.
type reservation struct {
	token string
	keys  []catalog.Key
	since time.Time // of the earliest one
	at    *link     // the other tracker that has it, nil if there is none
}

// reservations are the names reserved here, by proposals of this tracker and
// of others. The zero value is ready.
type reservations struct {
	mu     sync.Mutex
	byName map[string]reserved
}

type reserved struct {
	key   catalog.Key
	token string
	until time.Time
}

// reserve takes all the names or none. A name that is reserved for the same
// claim is the same request, repeated, and granted. E_EXISTS: one is reserved for
// somebody else. E_BUSY: too many are reserved.
func (rs *reservations) reserve(token string, keys []catalog.Key, now time.Time) error {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.byName == nil {
		rs.byName = map[string]reserved{}
	}
	for name, held := range rs.byName {
		if now.After(held.until) {
			delete(rs.byName, name)
		}
	}
	for _, k := range keys {
		if held, ok := rs.byName[catalog.ClaimName(k)]; ok && held.key != k {
			return errTaken(k)
		}
	}
	if len(rs.byName)+len(keys) > maxReserved {
		return busy("too many names are being registered at once")
	}
	for _, k := range keys {
		rs.byName[catalog.ClaimName(k)] = reserved{key: k, token: token, until: now.Add(protocol.ReserveLife)}
	}
	return nil
}

// release gives back what was reserved under token.
func (rs *reservations) release(token string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for name, held := range rs.byName {
		if held.token == token {
			delete(rs.byName, name)
		}
	}
}

// settled gives back the names whose claims are facts now.
func (rs *reservations) settled(facts []catalog.Fact) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for name, held := range rs.byName {
		if slices.ContainsFunc(facts, func(f catalog.Fact) bool { return f.Key == held.key }) {
			delete(rs.byName, name)
		}
	}
}

func errTaken(k catalog.Key) error {
	return protocol.Errorf(protocol.CodeExists, "the name %s is taken; choose another one", protocol.Quote(path.Base(catalog.ClaimName(k))))
}

// reserve reserves names here and at one other tracker, in the order of rank:
// whichever trackers claim a name at the same time, the first of the ranking
// is among those that each of them asks, and is the first it asks.
func (r *Replica) reserve(ctx context.Context, held *reservation, claims []catalog.Key) error {
	if held.token == "" {
		token := make([]byte, 16)
		if _, err := rand.Read(token); err != nil {
			return err
		}
		held.token, held.since = string(token), time.Now()
	}
	claims = slices.SortedFunc(slices.Values(claims), func(a, b catalog.Key) int {
		return cmp.Compare(catalog.ClaimName(a), catalog.ClaimName(b))
	})
	for _, k := range claims {
		if err := r.reserveOne(ctx, held, k); err != nil {
			return err
		}
		held.keys = append(held.keys, k)
	}
	return nil
}

func (r *Replica) reserveOne(ctx context.Context, held *reservation, k catalog.Key) error {
	others := r.links.prompt()
	slices.SortFunc(others, func(a, b *link) int {
		return slices.Compare(rank(k, b.name), rank(k, a.name))
	})
	here := false
	for _, l := range others {
		if !here && slices.Compare(rank(k, r.clock.origin), rank(k, l.name)) > 0 {
			if err := r.names.reserve(held.token, []catalog.Key{k}, time.Now()); err != nil {
				return err
			}
			here = true
		}
		granted, err := r.reserveAt(ctx, l, held.token, k)
		if err != nil && protocol.CodeOf(err) == protocol.CodeInternal && !isTimeout(err) && l.isConnected() {
			// Not refused but broken off: one that is passed over weakens the guarantee.
			granted, err = r.reserveAt(ctx, l, held.token, k)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			log.Infow("reserve a name elsewhere", "tracker", l.name, "err", err)
			continue
		}
		held.at = l
		if !granted {
			return errTaken(k)
		}
		break
	}
	if here {
		return nil
	}
	return r.names.reserve(held.token, []catalog.Key{k}, time.Now())
}

// holding has a reservation renewed until stop is called, which waits for the
// end of that: a disk may take longer over the change than a reservation lives.
func (r *Replica) holding(held *reservation) (stop func()) {
	if len(held.keys) == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(r.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(renewReservation)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.renew(ctx, held)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// renew lets a reservation live on where it was made. One that was lost
// nevertheless is as a name claimed on two sides of a cut.
func (r *Replica) renew(ctx context.Context, held *reservation) {
	if err := r.names.reserve(held.token, held.keys, time.Now()); err != nil {
		log.Infow("renew the reservation of a name", "err", err)
	}
	if held.at == nil {
		return
	}
	for _, k := range held.keys {
		if granted, err := r.reserveAt(ctx, held.at, held.token, k); err != nil || !granted {
			log.Infow("renew the reservation of a name", "tracker", held.at.name, "granted", granted, "err", err)
		}
	}
}

// rank orders the trackers that a name is reserved at, highest first. Each name
// has another order, so that no tracker is asked for all.
func rank(k catalog.Key, tracker string) []byte {
	h := blake3.Sum256([]byte(catalog.ClaimName(k) + "\n" + tracker))
	return h[:8]
}

func (r *Replica) reserveAt(ctx context.Context, l *link, token string, k catalog.Key) (granted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, protocol.ConfirmTimeout)
	defer cancel()
	req := &pb.SyncRequest{Body: &pb.SyncRequest_ReserveNames{
		ReserveNames: &pb.ReserveNames{Keys: []string{string(k)}, Token: []byte(token)},
	}}
	err = r.call(ctx, l, req, func(reply *pb.SyncReply) error {
		granted = reply.GetReserved().GetGranted()
		return nil
	})
	if isTimeout(err) && !errors.Is(err, errQueued) {
		l.setLate(true)
	}
	return granted, err
}

// giveBack ends a reservation that came to nothing, elsewhere in the background.
func (r *Replica) giveBack(held *reservation) {
	if held.token == "" {
		return
	}
	r.names.release(held.token)
	l := held.at
	if l == nil {
		return
	}
	r.tasks.run(func() {
		ctx, cancel := context.WithTimeout(r.ctx, protocol.ConfirmTimeout)
		defer cancel()
		req := &pb.SyncRequest{Body: &pb.SyncRequest_ReleaseNames{
			ReleaseNames: &pb.ReleaseNames{Token: []byte(held.token)},
		}}
		if err := r.call(ctx, l, req, func(*pb.SyncReply) error { return nil }); err != nil {
			log.Debugw("give a name back", "tracker", l.name, "err", err)
		}
	})
}

// answerReserve reserves names for another tracker, unless somebody else's
// claim is in force here or was reserved earlier.
func (r *Replica) answerReserve(q *pb.ReserveNames, out *replies) error {
	if err := wire.CheckElements(len(q.GetKeys())); err != nil {
		return err
	}
	if len(q.GetToken()) != 16 || len(q.GetKeys()) == 0 {
		return protocol.Errorf(protocol.CodeUsage, "a reservation needs a token of 16 bytes and a name")
	}
	if !r.isReady() {
		return busy("this tracker is just starting")
	}
	keys := make([]catalog.Key, len(q.GetKeys()))
	for i, k := range q.GetKeys() {
		keys[i] = catalog.Key(k)
		if !isClaim(keys[i]) {
			return protocol.Errorf(protocol.CodeUsage, "a key to reserve is not a claim of a name")
		}
	}
	// First the table, then the catalog: a claim that was reserved here and is
	// stored meanwhile is in one of them at any time.
	token := string(q.GetToken())
	err := r.names.reserve(token, keys, time.Now())
	if err != nil && protocol.CodeOf(err) != protocol.CodeExists {
		return err
	}
	granted := err == nil
	if granted && r.anyHeld(keys) {
		r.names.release(token)
		granted = false
	}
	return out.send(&pb.SyncReply{Body: &pb.SyncReply_Reserved{Reserved: &pb.ReserveNamesReply{Granted: granted}}})
}

func isClaim(k catalog.Key) bool {
	return len(catalog.NameClaims([]catalog.Draft{{Key: k}})) == 1 && catalog.ClaimName(k) != ""
}

func (r *Replica) anyHeld(keys []catalog.Key) (held bool) {
	r.View(func(c *catalog.Catalog) { held = slices.ContainsFunc(keys, c.ClaimHeld) })
	return held
}
