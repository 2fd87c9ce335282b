package rpc

import (
	"context"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// Renew gives a fresh envelope for the same session: nothing is written, so it
// works at a tracker that is alone.
func (s *Server) Renew(ctx context.Context, _ *connect.Request[pb.RenewRequest]) (*connect.Response[pb.LoginResponse], error) {
	c := callOf(ctx)
	fresh := *c.session
	envelope, err := s.issue(&fresh)
	if err != nil {
		return nil, err
	}
	s.hub.refresh(c.remote.text, &fresh)
	return connect.NewResponse(&pb.LoginResponse{Session: envelope, UserId: c.user.ID[:], Name: c.user.Name}), nil
}

// Logout ends the caller's session and nothing else: memberships and shares stay.
func (s *Server) Logout(ctx context.Context, _ *connect.Request[pb.LogoutRequest]) (*connect.Response[pb.ChangeResponse], error) {
	c := callOf(ctx)
	stored, already, err := s.propose(ctx, func(cat *catalog.Catalog) ([]catalog.Draft, error) {
		if cat.Revoked(c.session.ID) {
			return nil, nil
		}
		return catalog.RevokeSession(c.session.ID, c.session.User, c.session.RenewUntil.UnixMilli()), nil
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&pb.ChangeResponse{Stored: stored, Already: already}), nil
}

// ChangePassword makes a new verifier, which ends all sessions of the old one
// wherever they are, and goes on with the caller's under the new one.
func (s *Server) ChangePassword(ctx context.Context, req *connect.Request[pb.ChangePasswordRequest]) (*connect.Response[pb.LoginResponse], error) {
	c := callOf(ctx)
	id := c.user.ID
	password, err := s.newPassword(req.Msg.GetNewPassword())
	if err != nil {
		return nil, err
	}
	if _, err := s.checkPassword(ctx, id.String(), id, req.Msg.GetOldPassword()); err != nil {
		return nil, err
	}
	phc, err := s.cfg.Hasher.Hash(ctx, password)
	if err != nil {
		return nil, err
	}
	stored, _, err := s.propose(ctx, func(cat *catalog.Catalog) ([]catalog.Draft, error) {
		// Somebody else may have ended this session or changed the password since.
		if _, err := liveSession(cat, c.session); err != nil {
			return nil, err
		}
		drafts := cat.NewPassword(id, phc, false)
		for _, other := range cat.Sessions(id) {
			if other.ID != c.session.ID {
				drafts = append(drafts, catalog.RevokeSession(other.ID, id, other.Until)...)
			}
		}
		return drafts, nil
	})
	if err != nil {
		return nil, err
	}
	fresh := &credential.Session{
		Network: c.session.Network, User: id, ID: c.session.ID, Peer: c.session.Peer, RenewUntil: c.session.RenewUntil,
	}
	err = s.view(func(cat *catalog.Catalog) error {
		v, ok := cat.Verifier(id)
		if !ok || v.PHC != phc {
			return notLoggedIn() // changed once more in the meantime
		}
		fresh.Resets, fresh.Changes, fresh.Verifier = v.Resets, v.Changes, v.Stamp
		return nil
	})
	if err != nil {
		return nil, err
	}
	envelope, err := s.issue(fresh)
	if err != nil {
		return nil, err
	}
	s.hub.refresh(c.remote.text, fresh)
	return connect.NewResponse(&pb.LoginResponse{Session: envelope, UserId: id[:], Name: c.user.Name, Stored: stored}), nil
}

// IssueTicket gives a member what seeders of the group ask for.
func (s *Server) IssueTicket(ctx context.Context, req *connect.Request[pb.IssueTicketRequest]) (*connect.Response[pb.IssueTicketResponse], error) {
	c := callOf(ctx)
	ticket := &credential.Ticket{
		Network: c.session.Network, User: c.user.ID, Session: c.session.ID, Peer: c.remote.id,
		Stamp: s.replica.Now(), // before the look at the members: the ticket tells no more than that
	}
	err := s.view(func(cat *catalog.Catalog) error {
		g, err := memberGroupByID(cat, req.Msg.GetGroupId(), c.user.ID)
		c.about(g.Name, "")
		ticket.Group = g.ID
		return err
	})
	if err != nil {
		return nil, err
	}
	envelope, err := s.issuer.Ticket(ticket)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&pb.IssueTicketResponse{Ticket: envelope}), nil
}
