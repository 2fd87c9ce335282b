package trackers

import (
	"context"
	"maps"
	"sync"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// announceBatch keeps an announcement of 56 bytes an offer below
// protocol.MaxRequest and protocol.MaxElements.
const announceBatch = 500

type offerKey struct {
	group protocol.GroupID
	file  protocol.FileID
}

// offers is what this client offers, and what of it the tracker that holds
// the lease has been told.
type offers struct {
	kick chan struct{} // something is to be told

	mu      sync.Mutex
	want    map[offerKey]bool // complete?
	told    map[offerKey]bool
	pending map[offerKey]bool // where want and told may differ
	lease   bool              // somebody holds the lease
	settled chan struct{}     // closed and replaced whenever nothing is pending
}

func (o *offers) init() {
	o.kick = make(chan struct{}, 1)
	o.want, o.told = map[offerKey]bool{}, map[offerKey]bool{}
	o.pending = map[offerKey]bool{}
	o.settled = make(chan struct{})
}

// Offer announces a file, whole or in part, now and to every tracker that
// holds the lease later.
func (c *Client) Offer(g protocol.GroupID, f protocol.FileID, complete bool) {
	c.offers.set(offerKey{g, f}, complete, true)
}

// Withdraw ends an Offer.
func (c *Client) Withdraw(g protocol.GroupID, f protocol.FileID) {
	c.offers.set(offerKey{g, f}, false, false)
}

// Reoffer announces once more what the tracker refused, because there is
// reason to think that it takes it now.
func (c *Client) Reoffer(g protocol.GroupID, f protocol.FileID) {
	k := offerKey{g, f}
	o := &c.offers
	o.mu.Lock()
	delete(o.told, k)
	if o.differs(k) {
		o.pending[k] = true
	}
	o.mu.Unlock()
	nudge(o.kick)
}

func (o *offers) set(k offerKey, complete, offered bool) {
	o.mu.Lock()
	if offered {
		o.want[k] = complete
	} else {
		delete(o.want, k)
	}
	if o.differs(k) {
		o.pending[k] = true
	} else {
		delete(o.pending, k)
	}
	o.mu.Unlock()
	nudge(o.kick)
}

// differs compares what is wanted of k with what was told. mu is held.
func (o *offers) differs(k offerKey) bool {
	w, wanted := o.want[k]
	t, told := o.told[k]
	return wanted != told || w != t
}

// clear drops all offers: the session has ended.
func (o *offers) clear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.want)
	clear(o.told)
	clear(o.pending)
	o.settle()
}

// settle wakes those who wait for everything to be told. mu is held.
func (o *offers) settle() {
	close(o.settled)
	o.settled = make(chan struct{})
}

// begin makes all offers be told again: a new tracker holds the lease.
func (o *offers) begin() {
	o.mu.Lock()
	o.lease = true
	clear(o.told)
	clear(o.pending)
	for k := range maps.Keys(o.want) {
		o.pending[k] = true
	}
	if len(o.pending) == 0 {
		o.settle()
	}
	o.mu.Unlock()
	nudge(o.kick)
}

// end tells that nobody holds the lease any more.
func (o *offers) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lease = false
}

// next returns the next announcement, nil if everything has been told.
func (o *offers) next() *pb.AnnounceRequest {
	o.mu.Lock()
	defer o.mu.Unlock()
	var req *pb.AnnounceRequest
	for k := range o.pending {
		if req == nil {
			req = &pb.AnnounceRequest{}
		}
		if len(req.Offer)+len(req.Withdraw) == announceBatch {
			break
		}
		complete, wanted := o.want[k]
		offer := &pb.Offer{GroupId: k.group[:], FileId: k.file[:], Complete: complete}
		if wanted {
			req.Offer = append(req.Offer, offer)
		} else {
			req.Withdraw = append(req.Withdraw, offer)
		}
	}
	return req
}

// done notes an announcement that was answered. What changed meanwhile stays pending.
func (o *offers) done(req *pb.AnnounceRequest) {
	o.mu.Lock()
	defer o.mu.Unlock()
	note := func(list []*pb.Offer, offered bool) {
		for _, offer := range list {
			k := offerKey{protocol.GroupID(offer.GetGroupId()), protocol.FileID(offer.GetFileId())}
			if offered {
				o.told[k] = offer.GetComplete()
			} else {
				delete(o.told, k)
			}
			// It may be wanted otherwise since, even as it was before.
			if o.differs(k) {
				o.pending[k] = true
			} else {
				delete(o.pending, k)
			}
		}
	}
	note(req.Offer, true)
	note(req.Withdraw, false)
	if len(o.pending) == 0 {
		o.settle()
	}
}

// Settle waits until every offer so far has been told to the tracker that
// holds the lease, or the context ends.
func (c *Client) Settle(ctx context.Context) error {
	o := &c.offers
	for {
		o.mu.Lock()
		settled, done := o.settled, o.lease && len(o.pending) == 0
		o.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-settled:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.ctx.Done():
			return errClosed
		}
	}
}
