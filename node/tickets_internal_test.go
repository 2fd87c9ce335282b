package node

import (
	"context"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
)

// A ticket at hand is had at once, also while another is asked for in vain; the
// other one comes when a tracker gives it.
func TestTicketAtHandIsHadAtOnce(t *testing.T) {
	r := testRecords(t)
	key := testKey(t)
	g, network := protocol.GroupID{1}, protocol.NetworkID{7}
	m := &fakes{ticket: func(client peer.ID) ([]byte, error) {
		now := time.Now()
		ticket := credential.Ticket{Network: network, Group: g, Peer: client, Issued: now, Expires: now.Add(protocol.TicketLife)}
		return ticket.Seal(key)
	}}
	c, h := m.client(t, r, m.serve(t, 1))
	now := time.Now()
	ctx, cancel := context.WithCancelCause(t.Context())
	a := &account{
		node: &Node{records: r, trackers: c, host: h}, network: network, ctx: ctx, cancel: cancel, ticketing: make(chan struct{}, 1),
		tickets: map[protocol.GroupID]heldTicket{},
	}
	impatient, end := context.WithCancel(ctx)
	end()
	a.ticketing <- struct{}{} // somebody waits for a tracker
	for _, tt := range []struct {
		name   string
		held   heldTicket
		online bool
		want   bool
	}{
		{"young", heldTicket{renew: now.Add(time.Hour), accepted: now.Add(time.Hour)}, true, true},
		{"past half of its life", heldTicket{renew: now.Add(-time.Second), accepted: now.Add(time.Hour)}, true, true},
		{"over, without a tracker", heldTicket{renew: now.Add(-time.Hour), accepted: now.Add(-time.Second)}, false, true},
		{"over, and asked for in vain", heldTicket{renew: now.Add(-time.Hour), accepted: now.Add(-time.Second), failed: now}, true, true},
		{"over, with a tracker", heldTicket{renew: now.Add(-time.Hour), accepted: now.Add(-time.Second)}, true, false},
	} {
		tt.held.envelope = []byte("held")
		a.tickets[g] = tt.held
		a.node.online.Store(tt.online)
		got, err := a.ticket(impatient, g)
		if had := err == nil && string(got.envelope) == "held"; had != tt.want {
			t.Errorf("%s: got %q, %v, want one: %v", tt.name, got.envelope, err, tt.want)
		}
	}
	<-a.ticketing
	a.node.online.Store(true)
	a.tickets[g] = heldTicket{envelope: []byte("held"), renew: now.Add(-time.Second), accepted: now.Add(time.Hour)}
	if got, err := a.ticket(impatient, g); err != nil || string(got.envelope) != "held" {
		t.Errorf("got %q, %v", got.envelope, err)
	}
	a.mu.Lock()
	a.ended = true
	a.mu.Unlock()
	a.wg.Wait() // for what goes on in the background
	if string(a.heldTicket(g)) == "held" || m.asked.Load() != 1 {
		t.Errorf("%d were asked for, held is %q", m.asked.Load(), a.heldTicket(g))
	}
	cancel(nil)
}
