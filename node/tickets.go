package node

import (
	"context"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// ticketPause is for how long no other ticket is asked for after a try failed,
// while there is one.
const ticketPause = 10 * time.Second

// heldTicket is a ticket of this user for one group.
type heldTicket struct {
	envelope        []byte
	renew, accepted time.Time // when to ask for another; until when it is good
	failed          time.Time // the last try to get another
}

// ticket returns a ticket for a group: the one at hand while it is good, with
// another asked for in the background from half of its life on. While no tracker
// is reachable the old one is returned: seeders that have none either may accept
// it still, and who dials them must not wait for trackers.
func (a *account) ticket(ctx context.Context, g protocol.GroupID) (heldTicket, error) {
	n := a.node
	a.mu.Lock()
	held := a.tickets[g]
	a.mu.Unlock()
	now := n.trackers.Now()
	failed := now.Sub(held.failed) < ticketPause
	switch {
	case held.envelope == nil:
	case now.Before(held.renew), failed:
		return held, nil
	case now.Before(held.accepted), !n.online.Load():
		a.renewTicket(g)
		return held, nil
	}
	select {
	case a.ticketing <- struct{}{}:
		defer func() { <-a.ticketing }()
	case <-ctx.Done():
		return heldTicket{}, ctx.Err()
	}
	return a.askTicket(ctx, g)
}

// renewTicket asks for another ticket in the background, unless that is done
// already.
func (a *account) renewTicket(g protocol.GroupID) {
	select {
	case a.ticketing <- struct{}{}:
	default:
		return
	}
	if !a.spawn(func() {
		defer func() { <-a.ticketing }()
		if _, err := a.askTicket(a.ctx, g); err != nil {
			log.Infow("cannot get a fresh ticket now", "group", g, "err", err)
		}
	}) {
		<-a.ticketing
	}
}

// askTicket gets a fresh ticket from a tracker, unless somebody was faster. The
// caller has the right of ticketing.
func (a *account) askTicket(ctx context.Context, g protocol.GroupID) (heldTicket, error) {
	n := a.node
	a.mu.Lock()
	held := a.tickets[g]
	a.mu.Unlock()
	now := n.trackers.Now()
	if held.envelope != nil && (now.Before(held.renew) || now.Sub(held.failed) < ticketPause) {
		return held, nil
	}
	res, err := trackers.Call(ctx, n.trackers, rpc.IssueTicket, &pb.IssueTicketRequest{GroupId: g[:]})
	if err != nil {
		if held.envelope != nil && (protocol.CodeOf(err) == protocol.CodeNoTracker || now.Before(held.accepted)) {
			a.mu.Lock()
			if now, ok := a.tickets[g]; ok { // not forgotten meanwhile
				now.failed = n.trackers.Now()
				a.tickets[g] = now
			}
			a.mu.Unlock()
			return held, nil
		}
		return heldTicket{}, err
	}
	t, err := credential.OpenTicket(res.GetTicket(), n.own(a.network))
	if err != nil {
		return heldTicket{}, err
	}
	held = heldTicket{envelope: res.GetTicket(), renew: now.Add(t.Expires.Sub(t.Issued) / 2), accepted: t.Expires}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tickets[g] = held
	return held, nil
}

// heldTicket returns the ticket at hand, nil if there is none.
func (a *account) heldTicket(g protocol.GroupID) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tickets[g].envelope
}

// forgetTickets makes the next stream ask for a fresh ticket.
func (a *account) forgetTickets() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.tickets)
}
