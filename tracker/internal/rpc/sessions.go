package rpc

import (
	"context"
	"slices"
	"time"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// Renew gives a fresh envelope for the same session. It needs no other tracker,
// and no room on the disk of this one: the note that the session is in use is
// for its owner's list alone.
func (s *Server) Renew(ctx context.Context, _ *connect.Request[pb.RenewRequest]) (*connect.Response[pb.LoginResponse], error) {
	c := callOf(ctx)
	fresh := *c.session
	envelope, err := s.issue(&fresh)
	if err != nil {
		return nil, err
	}
	s.hub.refresh(c.remote.text, &fresh)
	if err := s.confirmSession(ctx, c.session); err != nil {
		log.Infow("a renewal is not noted", "user", c.user.Name, "err", err)
	}
	return connect.NewResponse(&pb.LoginResponse{Session: envelope, UserId: c.user.ID[:], Name: c.user.Name}), nil
}

// confirmEvery is the least time between two confirmations of a session. A client
// renews twice a day; an envelope can be renewed without end.
const confirmEvery = time.Hour

// confirmSession writes the record of a session again, as it was: its stamp
// tells the owner, also after a restart of all trackers, that it is in use. One
// that was written within confirmEvery is left alone.
func (s *Server) confirmSession(ctx context.Context, session *credential.Session) error {
	now := s.cfg.Now()
	due := func(cat *catalog.Catalog) (catalog.Session, bool) {
		known, ok := cat.Session(session.User, session.ID)
		return known, ok && !cat.Revoked(session.ID) && now.Sub(time.UnixMilli(known.Confirmed)) >= confirmEvery
	}
	ok := false
	s.replica.View(func(cat *catalog.Catalog) { _, ok = due(cat) })
	if !ok {
		return nil
	}
	_, _, err := s.propose(ctx, func(cat *catalog.Catalog) ([]catalog.Draft, error) {
		known, ok := due(cat)
		if !ok {
			return nil, nil
		}
		return catalog.NewSession(session.User, known), nil
	})
	return err
}

// goingOn returns the sessions of a user that can be renewed at now. The catalog
// goes by the slowest clock of all trackers, and has more.
func goingOn(c *catalog.Catalog, u protocol.UserID, now time.Time) []catalog.Session {
	return slices.DeleteFunc(c.Sessions(u), func(session catalog.Session) bool {
		return now.After(time.UnixMilli(session.Until).Add(protocol.CredentialSkew))
	})
}

// ListSessions names the caller's own logins and nobody else's.
func (s *Server) ListSessions(ctx context.Context, _ *connect.Request[pb.ListSessionsRequest]) (*connect.Response[pb.ListSessionsResponse], error) {
	c := callOf(ctx)
	s.replica.CatchUp(ctx) // a login at another tracker a moment ago is one
	var all []catalog.Session
	s.replica.View(func(cat *catalog.Catalog) { all = goingOn(cat, c.user.ID, s.cfg.Now()) })
	ids := make([]protocol.SessionID, len(all))
	for i := range all {
		ids[i] = all[i].ID
	}
	seen := s.cfg.Presence.Sightings(c.user.ID, ids)
	res := &pb.ListSessionsResponse{}
	for _, session := range all[max(0, len(all)-protocol.MaxElements):] {
		known := seen[session.ID]
		last := max(session.Since, session.Confirmed)
		if !known.Last.IsZero() {
			last = max(last, known.Last.UnixMilli())
		}
		res.Sessions = append(res.Sessions, &pb.SessionEntry{
			SessionId: session.ID[:], Device: session.Device, SinceMs: session.Since,
			LastSeenMs: last, Online: known.Online, This: session.ID == c.session.ID,
		})
	}
	return connect.NewResponse(res), nil
}

// RevokeSession ends one of the caller's sessions, as its own logout would. Of
// one that is not the caller's it says the same as of one that never was.
func (s *Server) RevokeSession(ctx context.Context, req *connect.Request[pb.RevokeSessionRequest]) (*connect.Response[pb.ChangeResponse], error) {
	c := callOf(ctx)
	id, err := protocol.IDFromBytes[protocol.SessionID](req.Msg.GetSessionId())
	if err != nil {
		return nil, err
	}
	c.about("", id.String()[:8]) // enough to find it by
	s.replica.CatchUp(ctx)
	stored, already, err := s.propose(ctx, func(cat *catalog.Catalog) ([]catalog.Draft, error) {
		session, ok := cat.Session(c.user.ID, id)
		switch {
		case !ok:
			return nil, protocol.Errorf(protocol.CodeNotFound, "you have no session %s; \"sessions\" lists yours", id)
		case cat.Revoked(id):
			return nil, nil
		}
		return catalog.RevokeSession(id, c.user.ID, session.Until), nil
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&pb.ChangeResponse{Stored: stored, Already: already}), nil
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
	phc, err := s.cfg.Hasher.Hash(ctx, c.remote.place(), password)
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
		fresh.Resets, fresh.Changes, fresh.Verifier = v.Resets, v.Changes, v.Set
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
