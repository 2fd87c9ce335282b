package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

const (
	// confirmQueue is how many changes may wait for one tracker; more go to another
	// one, or unconfirmed.
	confirmQueue = 1_024
	// besideAfter is how long an answer may take before one more tracker is asked: a
	// disk that works is faster, and the next one still has most of the cap.
	besideAfter = 300 * time.Millisecond
)

var errNotStored = errors.New("not stored by the other tracker")

// confirmation is a change that waits to be on the disk of one other tracker. One
// without facts asks whether the disk there answers at all.
type confirmation struct {
	facts []catalog.Fact
	done  chan outcome // holds one of each tracker that is asked
}

// outcome is what came of a change at a tracker.
type outcome struct {
	at  *link
	err error
}

// confirmed has one more tracker store the facts and tells how many have them.
// It asks preferred first, then the others, the next one beside those that take
// long, within protocol.ConfirmTimeout. It does not end with ctx: whether all is
// confirmed is of use to others than the caller.
func (r *Replica) confirmed(ctx context.Context, w written, preferred *link) Stored {
	s := Stored{On: 1, Trackers: len(r.links.all()) + 1, Stamp: w.stamp}
	if len(w.facts) == 0 {
		s.On += r.level(ctx)
		return s
	}
	if r.storedElsewhere(w.facts, candidates(r.links.storing(), preferred)) {
		s.On++
	}
	return s
}

// storedElsewhere reports whether one of the trackers has stored the facts. All
// that are asked go on storing them, whoever was the first.
func (r *Replica) storedElsewhere(facts []catalog.Fact, todo []*link) bool {
	limit := time.NewTimer(protocol.ConfirmTimeout)
	defer limit.Stop()
	beside := time.NewTicker(besideAfter)
	defer beside.Stop()
	c := &confirmation{facts: facts, done: make(chan outcome, len(todo))}
	var asked []*link // and have not answered
	ask := func() {
		for len(todo) > 0 {
			l := todo[0]
			todo = todo[1:]
			select {
			case l.confirm <- c:
				asked = append(asked, l)
				return
			default: // too much waits for it
			}
		}
	}
	ask()
	first := slices.Clone(asked)
	for len(asked) > 0 {
		select {
		case o := <-c.done:
			if o.err == nil {
				return true
			}
			log.Infow("have a change stored elsewhere", "tracker", o.at.name, "err", o.err)
			asked = slices.DeleteFunc(asked, func(l *link) bool { return l == o.at })
			ask()
		case <-beside.C:
			ask()
		case <-limit.C:
			for _, l := range first {
				if slices.Contains(asked, l) { // the others had less time
					l.missedCap()
				}
			}
			return false
		case <-r.ctx.Done():
			return false
		}
	}
	return false
}

func candidates(all []*link, preferred *link) []*link {
	out := make([]*link, 0, len(all))
	for _, l := range all {
		if l == preferred {
			out = append([]*link{l}, out...)
			continue
		}
		out = append(out, l)
	}
	return out
}

// runConfirmer sends what waits for one tracker, one call at a time; what comes
// meanwhile goes with the next call together.
func (r *Replica) runConfirmer(ctx context.Context, l *link) {
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-l.confirm:
			r.store(ctx, l, gatherConfirmations(l, first))
		}
	}
}

func gatherConfirmations(l *link, first *confirmation) []*confirmation {
	batch, facts := []*confirmation{first}, len(first.facts)
	for facts < protocol.MaxElements {
		select {
		case c := <-l.confirm:
			batch = append(batch, c)
			facts += len(c.facts)
		default:
			return batch
		}
	}
	return batch
}

// store has a tracker store a batch, and tells each change what came of it.
func (r *Replica) store(ctx context.Context, l *link, batch []*confirmation) {
	ctx, cancel := context.WithTimeout(ctx, protocol.ConfirmTimeout)
	defer cancel()
	r.storeParts(ctx, l, batch)
}

// storeParts parts a batch that is refused for what is in it, until the changes
// that are the reason stand alone: the others do not share their fate.
func (r *Replica) storeParts(ctx context.Context, l *link, batch []*confirmation) {
	err := r.storeTogether(ctx, l, batch)
	if one, other := part(batch, err); len(one) > 0 && len(other) > 0 && ctx.Err() == nil {
		r.storeParts(ctx, l, one)
		r.storeParts(ctx, l, other)
		return
	}
	if isTimeout(err) && !errors.Is(err, errQueued) {
		l.missedCap()
	}
	for _, c := range batch {
		c.done <- outcome{l, err}
	}
}

// part returns the parts of a batch that are to be sent apart, after it was refused
// together: halves, or where there was no room, what has manifests and what has
// none. One is empty if there is no use in that.
func part(batch []*confirmation, err error) (one, other []*confirmation) {
	if isAboutContent(err) {
		n := len(batch) / 2
		return batch[:n], batch[n:]
	}
	if protocol.CodeOf(err) != protocol.CodeTrackerFull {
		return batch, nil
	}
	for _, c := range batch {
		if slices.ContainsFunc(c.facts, namesBlob) {
			other = append(other, c)
		} else {
			one = append(one, c)
		}
	}
	return one, other
}

func namesBlob(f catalog.Fact) bool {
	_, ok := catalog.BlobOf(f)
	return ok
}

// isAboutContent reports whether a tracker refused some of the facts, and not
// all that anybody might send it.
func isAboutContent(err error) bool {
	switch protocol.CodeOf(err) {
	case "", protocol.CodeInternal, protocol.CodeTrackerFull, protocol.CodeConfig:
		return false
	default:
		return true
	}
}

func (r *Replica) storeTogether(ctx context.Context, l *link, batch []*confirmation) error {
	var facts []*pb.Fact
	for _, c := range batch {
		for _, f := range c.facts {
			facts = append(facts, toFact(f))
		}
	}
	for {
		n, size := 0, 0
		for n < len(facts) && n < protocol.MaxElements && (n == 0 || size < frameBytes) {
			size += proto.Size(facts[n]) + 8
			n++
		}
		if err := r.storeAt(ctx, l, facts[:n]); err != nil {
			return err
		}
		if facts = facts[n:]; len(facts) == 0 {
			l.setStalled(false)
			return nil
		}
	}
}

func (r *Replica) storeAt(ctx context.Context, l *link, facts []*pb.Fact) error {
	stored := false
	req := &pb.SyncRequest{Body: &pb.SyncRequest_StoreFacts{StoreFacts: &pb.StoreFacts{Facts: facts}}}
	err := r.call(ctx, l, req, func(reply *pb.SyncReply) error {
		stored = reply.GetStored() != nil
		return nil
	})
	if err == nil && !stored {
		err = errNotStored
	}
	return err
}

// answerStore takes facts of another tracker and answers when they, and the
// manifests that they name, are on disk here; where there are none, once the disk
// has done what it is at.
func (r *Replica) answerStore(ctx context.Context, l *link, q *pb.StoreFacts, out *replies) error {
	if err := wire.CheckElements(len(q.GetFacts())); err != nil {
		return err
	}
	if r.Network().IsZero() {
		return busy("this tracker knows no network yet")
	}
	if r.dropped.Load() {
		return protocol.Errorf(protocol.CodeConfig, "this tracker is no longer in the list of trackers")
	}
	if r.writer.hangs() { // to wait for it would take a place from greetings and reservations
		return protocol.Errorf(protocol.CodeTrackerFull, "this tracker's disk does not answer")
	}
	facts, malformed := r.fromFacts(l.name, q.GetFacts())
	blobErr := r.holdNamed(ctx, facts)
	if blobErr == nil {
		blobErr = r.fetchNamed(ctx, l, facts)
	}
	waiting, err := r.mergePushed(ctx, l.name, facts)
	if err != nil {
		return err
	}
	r.names.settled(facts)
	switch {
	case malformed > 0:
		return protocol.Errorf(protocol.CodeUsage, "%d facts are malformed and were left out", malformed)
	case waiting > 0:
		return busy(fmt.Sprintf("the clocks differ: %d changes are from the future here", waiting))
	case blobErr != nil:
		return blobErr
	}
	return out.send(&pb.SyncReply{Body: &pb.SyncReply_Stored{Stored: &pb.StoreFactsReply{}}})
}
