package presence

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// deltaBytes is where a delta is full. The replica refuses to gossip more than
// 48 KiB, of which it needs a little for itself.
const deltaBytes = 47 << 10

// notice is something to call back about.
type notice struct {
	changes []Change
	delta   *pb.PresenceDelta
}

// offersInPart is how many offers a lease in a delta has at most: 28 KiB of
// them. What is more follows in parts.
const offersInPart = 500

// publish counts the version up for the own leases that have changed, and puts
// deltas of them into the outbox: what has changed, not the whole of a lease
// that the others know. Called with t.mu held.
func (t *Table) publish(e *edit) {
	var full []*pb.Lease
	size := 0
	flush := func() {
		if len(full) == 0 {
			return
		}
		d := &pb.PresenceDelta{Epoch: t.own.epoch, From: t.own.version, To: t.own.version + 1, Leases: full}
		t.own.version++
		t.recent.add(d, size)
		if t.cfg.OnDelta != nil {
			t.outbox = append(t.outbox, notice{delta: d})
		}
		full, size = nil, 0
	}
	for _, peer := range slices.Sorted(maps.Keys(e.own)) {
		for _, l := range t.parts(peer, e.own[peer], e.scope[peer]) {
			n := proto.Size(l) + 8 // its tag and length
			if size+n > deltaBytes || len(full) == protocol.MaxElements {
				flush()
			}
			full, size = append(full, l), size+n
		}
	}
	flush()
}

// parts returns what the others need to know of an own lease that was as given,
// and may have changed in some offers, nil: all.
func (t *Table) parts(peer string, was *own, scope []FileRef) []*pb.Lease {
	now := t.own.leases[peer]
	if now == nil {
		return []*pb.Lease{{PeerId: peer, Gone: true, Version: t.own.version + 1}}
	}
	offers, withdrawn := now.Offers, []Offer(nil)
	// A new opening is told in whole: others may have ended the one before, for
	// a fact that is not here yet.
	known := was != nil && was.opening == now.opening
	if known {
		offers, withdrawn = change(among(was.Offers, scope), among(now.Offers, scope))
	}
	var out []*pb.Lease
	for first := true; first || len(offers)+len(withdrawn) > 0; first = false {
		part := now.encode()
		part.Partial = known || !first
		n := min(len(withdrawn), offersInPart) // first, since they make room
		part.Withdrawn, withdrawn = encodeOffers(withdrawn[:n]), withdrawn[n:]
		n = min(len(offers), offersInPart-n)
		part.Offers, offers = encodeOffers(offers[:n]), offers[n:]
		out = append(out, part)
	}
	return out
}

// change returns the offers that are new or not as they were, and those that ended.
func change(was, is []Offer) (offers, withdrawn []Offer) {
	for _, o := range is {
		if before, had := offerOf(was, o.FileRef); !had || before != o {
			offers = append(offers, o)
		}
	}
	for _, o := range was {
		if _, has := offerOf(is, o.FileRef); !has {
			withdrawn = append(withdrawn, o)
		}
	}
	return offers, withdrawn
}

// emit calls back what is in the outbox, in order, until it is empty. What the
// callbacks themselves bring about is behind it in the same outbox.
func (t *Table) emit() {
	for {
		t.mu.Lock()
		out := t.outbox
		t.outbox = nil
		t.emitting = len(out) > 0
		t.mu.Unlock()
		if len(out) == 0 {
			return
		}
		for _, n := range out {
			if n.delta != nil {
				t.cfg.OnDelta(n.delta)
			} else {
				t.cfg.OnChange(n.changes)
			}
		}
	}
}

// Local implements replica.Presence, as do the following. It returns the epoch
// and version of this tracker's leases and all of them.
func (t *Table) Local() *pb.PresenceList {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := &pb.PresenceList{Epoch: t.own.epoch, Version: t.own.version}
	for _, peer := range slices.Sorted(maps.Keys(t.own.leases)) {
		l := t.own.leases[peer]
		whole := l.encode()
		whole.Offers = encodeOffers(l.Offers)
		list.Leases = append(list.Leases, whole)
	}
	return list
}

// Version returns the epoch and version of this tracker's own leases.
func (t *Table) Version() (epoch, version uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.own.epoch, t.own.version
}
