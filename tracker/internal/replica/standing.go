package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// Named values in the store.
const (
	metaNetwork = "network" // the network id, 16 bytes
	metaProbe   = "probe"   // when the store took something again after it had been full
)

const (
	// settleCap is how long the start waits for trackers that may not be there.
	settleCap = 3 * time.Second
	// clockTolerance is how far two clocks may differ to agree.
	clockTolerance = time.Minute
)

// Network returns the network id, zero while blank.
func (r *Replica) Network() protocol.NetworkID {
	if id := r.network.Load(); id != nil {
		return *id
	}
	return protocol.NetworkID{}
}

// setNetwork is called before the start, then by the writer; twice with one id if
// two rounds end together.
func (r *Replica) setNetwork(id protocol.NetworkID) {
	if r.network.CompareAndSwap(nil, &id) {
		close(r.named)
	}
}

// Ready is closed once the replica may serve: it has a network id and has
// exchanged with every tracker it could reach (3 s cap).
func (r *Replica) Ready() <-chan struct{} { return r.ready }

func (r *Replica) isReady() bool {
	select {
	case <-r.ready:
		return true
	default:
		return false
	}
}

// settle brings the replica from its start to where it may serve.
func (r *Replica) settle() {
	begun := time.Now()
	r.tryAll()
	if r.Network().IsZero() {
		if !r.awaitNetwork(begun) {
			return
		}
		r.tryAll() // so that the others know this one as of their network before it serves
	}
	r.expire() // as the others have, so that the roots are equal
	if r.ctx.Err() == nil {
		close(r.ready)
	}
}

// awaitNetwork waits until a blank tracker is part of a network: one that it has
// caught up with, or one that it begins. False if it is closed first.
func (r *Replica) awaitNetwork(begun time.Time) bool {
	look := time.NewTicker(healEvery)
	defer look.Stop()
	for told := false; ; {
		if r.mayBegin(begun) && r.begin(begun) {
			return true
		}
		if !told {
			told = true
			log.Warnw("this tracker knows no network yet; it waits until it has caught up with another tracker of the list")
		}
		select {
		case <-r.named:
			return true
		case <-look.C:
		case <-r.ctx.Done():
			return false
		}
	}
}

// mayBegin reports whether there is nothing to wait for before NewNetwork is
// begun: no tracker that answers is part of a network, however long it takes to
// catch up with it; none has refused a moment ago to talk to this one, as one of a
// network does whose list is not up to date; and those that do not answer had
// their time. Who has begun to catch up knows that there is a network, and that
// this is not all of it.
func (r *Replica) mayBegin(begun time.Time) bool {
	if r.cfg.NewNetwork.IsZero() {
		return false
	}
	facts := 0
	r.View(func(c *catalog.Catalog) { facts = c.Len() })
	return facts == 0 && r.othersLetBegin(begun)
}

// othersLetBegin is what mayBegin asks of the other trackers.
func (r *Replica) othersLetBegin(begun time.Time) bool {
	patient := time.Since(begun) < r.cfg.BeginAfter
	for _, l := range r.links.all() {
		l.mu.Lock()
		named, silent := l.named, !l.answered
		refuses := time.Since(l.refused) < refusalCounts
		l.mu.Unlock()
		if named || refuses || silent && patient {
			return false
		}
	}
	return true
}

// begin makes NewNetwork the network of this tracker, unless what mayBegin has
// found is not so any more once the store would take it.
func (r *Replica) begin(begun time.Time) bool {
	err := r.adopt(r.ctx, r.cfg.NewNetwork, func(t *txn) error {
		if t.cat.Len() > 0 || !r.othersLetBegin(begun) {
			return errors.New("there is a network, which it has heard of meanwhile")
		}
		return nil
	})
	if err != nil && r.ctx.Err() == nil {
		log.Errorw("begin a new network", "err", err)
	}
	return err == nil
}

// tryAll waits until each other tracker was tried once more, settleCap at most.
func (r *Replica) tryAll() {
	ctx, cancel := context.WithTimeout(r.ctx, settleCap)
	defer cancel()
	r.attemptAll(ctx, r.links.all())
}

// adopt makes id the network of this tracker, on disk first. It is what ends
// the first complete exchange of a blank tracker, or begins a network. still says
// under the write lock whether the reason for it holds.
func (r *Replica) adopt(ctx context.Context, id protocol.NetworkID, still func(*txn) error) error {
	err := r.change(ctx, func(t *txn) error {
		if err := still(t); err != nil {
			return err
		}
		known := r.Network()
		if known.IsZero() {
			known = t.network
		}
		if !known.IsZero() && known != id {
			return errors.New("this tracker is part of another network already")
		}
		t.adopt(id)
		return nil
	})
	if err != nil {
		return fmt.Errorf("store network id: %w", err)
	}
	log.Infow("part of a network", "network", id.String())
	return nil
}

// nothingUndone is the reason of adopt at the end of an exchange before which undone
// was read: what it found here already has not been taken back since.
func (r *Replica) nothingUndone(undone uint64) func(*txn) error {
	return func(*txn) error {
		if r.state.undone != undone { // the writer holds the lock
			return errors.New("the disk has refused a part of the catalog meanwhile")
		}
		return nil
	}
}

// SetDropped notes that this tracker itself is in the list no more, or again. One
// that is not takes no requests and confirms nothing, since it may be ended at any
// moment and its disk with it; with those who still know it it exchanges, so that
// nothing is lost with it.
func (r *Replica) SetDropped(yes bool) { r.dropped.Store(yes) }

// Serving returns nil, or why this tracker takes no requests just now (blank,
// clock off, disk hung, dropped from the list): E_BUSY.
func (r *Replica) Serving() error {
	switch {
	case r.ctx.Err() != nil:
		return errClosing()
	case r.Network().IsZero():
		return busy("this tracker knows no network yet and waits for another one of its list")
	case !r.isReady():
		return busy("this tracker is just starting and catches up with the others")
	case r.dropped.Load():
		return busy("this tracker is no longer in the list of trackers")
	case r.writer.hangs():
		return errHangs()
	}
	return r.clockFault()
}

// Advice ends the text of an E_BUSY of this package: it is for clients.
const Advice = "; use another tracker or try again later"

func busy(why string) error {
	return &protocol.Error{Code: protocol.CodeBusy, Msg: why + Advice, RetryAfter: defaultInterval}
}

// clockFault refuses while fewer than half of the connected trackers, this one
// included, have a clock that agrees with this one's; at exactly half, while
// the others are ahead: what they wrote must stay before what is written next.
func (r *Replica) clockFault() error {
	agree, all, worst := 1, 1, time.Duration(0)
	ahead := true // of all that do not agree
	for _, l := range r.links.connected() {
		offset, ok := l.clockAhead()
		if !ok {
			continue
		}
		all++
		if offset.Abs() <= clockTolerance {
			agree++
			continue
		}
		ahead = ahead && offset > 0
		if offset.Abs() > worst.Abs() {
			worst = offset
		}
	}
	if 2*agree > all || 2*agree == all && !ahead {
		return nil
	}
	return busy(fmt.Sprintf("this tracker's clock is %v off from the other trackers': it takes no changes until that is set right",
		worst.Abs().Round(time.Second)))
}
