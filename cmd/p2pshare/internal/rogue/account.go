package rogue

import (
	"context"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/internal/calltest"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// Enter makes an account and logs in.
func (p *Peer) Enter(user string) *Peer {
	p.T.Helper()
	nonce := protocol.NewNonce()
	Must(p, p.at.Register, &pb.RegisterRequest{Name: user, Password: Password, Nonce: nonce[:]})
	return p.Login(user)
}

// Login logs in to an account that there is.
func (p *Peer) Login(user string) *Peer {
	p.T.Helper()
	r := Must(p, p.at.Login, &pb.LoginRequest{Name: user, Password: Password, Device: "rogue"})
	p.Session, p.User = r.GetSession(), r.GetUserId()
	return p
}

// Group makes a group.
func (p *Peer) Group(name string) (id protocol.GroupID) {
	p.T.Helper()
	nonce := protocol.NewNonce()
	r := Must(p, p.at.CreateGroup, &pb.CreateGroupRequest{Name: name, Nonce: nonce[:]})
	return protocol.GroupID(r.GetGroupId())
}

// Join asks to join a group.
func (p *Peer) Join(group string) {
	p.T.Helper()
	Must(p, p.at.JoinGroup, &pb.GroupRequest{Group: &pb.GroupRef{Name: group}})
}

// Ticket is a ticket for a group that the peer's user is a member of.
func (p *Peer) Ticket(group protocol.GroupID) []byte {
	p.T.Helper()
	return Must(p, p.at.IssueTicket, &pb.IssueTicketRequest{GroupId: group[:]}).GetTicket()
}

// Find is the file of that name, as a member is told of it.
func (p *Peer) Find(group, name string) (protocol.GroupID, protocol.FileID) {
	p.T.Helper()
	r := Must(p, p.at.FindFile, &pb.FindFileRequest{Group: &pb.GroupRef{Name: group}, Name: name})
	return protocol.GroupID(r.GetGroupId()), protocol.FileID(r.GetFile().GetId())
}

// Attach opens a lease for the peer's own addresses, which ends with the test.
func (p *Peer) Attach() {
	p.T.Helper()
	req := &pb.AttachRequest{}
	for _, a := range p.Host.Addrs() {
		req.Addrs = append(req.Addrs, a.String())
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := connect.NewRequest(req)
	calltest.Sign(r.Header(), p.Session)
	stream, err := p.at.Attach(ctx, r)
	if err != nil || !stream.Receive() {
		cancel()
		p.T.Fatalf("attach: %v", calltest.Said(err))
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for stream.Receive() {
		}
		_ = stream.Close()
	}()
	p.T.Cleanup(func() { cancel(); <-ended })
}

// Put sends the bytes of a manifest, whatever they are.
func (p *Peer) Put(group protocol.GroupID, id protocol.FileID, data []byte) error {
	ctx, cancel := context.WithTimeout(p.T.Context(), Patience)
	defer cancel()
	_, err := calltest.Put(ctx, p.at, p.Session, group[:], id, data)
	return err
}

// Offer stores and shares a manifest, and announces the peer as one that has
// the whole file. It must be attached.
func (p *Peer) Offer(name string, group protocol.GroupID, m *protocol.Manifest) {
	p.T.Helper()
	id := m.ID()
	if err := p.Put(group, id, m.Encode()); err != nil {
		p.T.Fatalf("put the manifest: %v", err)
	}
	Must(p, p.at.ShareFile, &pb.ShareFileRequest{Group: &pb.GroupRef{Name: name, Id: group[:]}, FileId: id[:]})
	r := Must(p, p.at.Announce, &pb.AnnounceRequest{Offer: []*pb.Offer{{GroupId: group[:], FileId: id[:], Complete: true}}})
	if len(r.GetRefused()) > 0 {
		p.T.Fatal("the tracker refuses the offer")
	}
}

// Manifest fetches the description of a file.
func (p *Peer) Manifest(ref *pb.FileRequest) ([]byte, error) {
	ctx, cancel := context.WithTimeout(p.T.Context(), Patience)
	defer cancel()
	return calltest.Manifest(ctx, p.at, p.Session, ref)
}
