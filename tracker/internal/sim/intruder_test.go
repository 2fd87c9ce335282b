package sim

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// askTicket asks one tracker for a ticket, member or not, and finds one that is
// issued to somebody of whom that tracker knows that they are no member.
func (p *person) askTicket(m *member, pick uint32) error {
	r, _ := m.serving()
	if r == nil || p.id == (protocol.UserID{}) {
		return errNothing
	}
	if err := p.call(m); err != nil {
		return err
	}
	var g catalog.Group
	var before, after bool
	r.View(func(c *catalog.Catalog) {
		if g, _ = someGroup(c, pick); g.ID != (protocol.GroupID{}) {
			before = c.IsMember(g.ID, p.id)
		}
	})
	if g.ID == (protocol.GroupID{}) {
		return errNothing
	}
	reply, err := tt.Do(p.phone, p.phone.At().IssueTicket, &pb.IssueTicketRequest{GroupId: g.ID[:]})
	if err != nil {
		return err
	}
	r.View(func(c *catalog.Catalog) { after = c.IsMember(g.ID, p.id) })
	if !before && !after {
		p.w.tap.errorf("tracker %s issued a ticket of %s to person %d, who is no member", m.id, g.Name, p.number)
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.tickets = append(p.tickets, ticketOf{g.ID, reply.GetTicket()})
	return nil
}

// call has the phone use a tracker, logged in.
func (p *person) call(m *member) error {
	p.phone.Use(p.w.net.info(m.id))
	if !bytes.Equal(p.phone.User, p.id[:]) {
		p.phone.Session = nil // of an account that was lost
	}
	if _, err := tt.Do(p.phone, p.phone.At().Renew, &pb.RenewRequest{}); err == nil {
		return nil
	}
	name := p.w.shownAs(p.id)
	if name == "" {
		return errNothing
	}
	p.phone.Session = nil
	err := p.tryPasswords(func(password string) error { return p.phone.Login(name, password) })
	if err != nil {
		return err
	}
	id := protocol.UserID(p.phone.User)
	p.w.opened(id, p)
	p.w.tap.belongs(p.phone.Host.ID(), id)
	if id != p.id {
		return errNothing // another account of the same person holds the name here
	}
	return nil
}

// intrude asks another person's node for a file with a ticket that may be of
// another group, of another person, or made at home. Pieces are watched by the tap.
func (p *person) intrude(ctx context.Context, x act) error {
	victim := p.w.persons[int(x.a)%len(p.w.persons)]
	files := p.w.files()
	if len(files) == 0 {
		return errNothing
	}
	f := files[int(x.b)%len(files)]
	var tickets [][]byte
	for _, q := range []*person{p, victim} {
		for _, t := range q.stolen() {
			tickets = append(tickets, t.envelope)
		}
	}
	now := p.w.all()[0].now()
	forged, err := (&credential.Ticket{
		Network: netID, Group: f.Group, User: p.id, Session: sessionOf(1), Peer: p.phone.Host.ID(),
		Issued: now, Expires: now.Add(protocol.TicketLife),
	}).Seal(p.key)
	if err != nil {
		return err
	}
	tickets = append(tickets, forged, nil)
	return p.ask(ctx, victim.peer, f.ID, tickets[int(x.c)%len(tickets)])
}

// ask wants the first piece of a file of another node.
func (p *person) ask(ctx context.Context, of peer.ID, file protocol.FileID, ticket []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s, err := p.phone.Host.NewStream(ctx, of, protocol.PieceProtocol)
	if err != nil {
		return err
	}
	defer func() { _ = s.Reset() }()
	if err := s.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	open := &pb.FromLeecher{Body: &pb.FromLeecher_Open{Open: &pb.Open{Ticket: ticket, FileId: file[:]}}}
	first := &pb.FromLeecher{Body: &pb.FromLeecher_Request{Request: &pb.Request{}}}
	for _, m := range []*pb.FromLeecher{open, first} {
		if err := wire.Write(s, m); err != nil {
			return err
		}
	}
	for {
		if _, err := s.Read(make([]byte, 64<<10)); err != nil {
			return err // refused, or time is up; what came meanwhile, the tap has seen
		}
	}
}

// stolen returns what anybody could have of a person's tickets.
func (p *person) stolen() []ticketOf {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return slices.Clone(p.tickets)
}
