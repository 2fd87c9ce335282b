package rpc

import (
	"cmp"
	"context"
	"slices"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// ListRequests lists who wants to join; the owner's alone.
func (s *Server) ListRequests(ctx context.Context, req *connect.Request[pb.GroupRequest]) (*connect.Response[pb.ListRequestsResponse], error) {
	c := callOf(ctx)
	c.about(req.Msg.GetGroup().GetName(), "")
	c.firstPageOnly(req.Msg.GetCursor())
	var all []*pb.UserEntry
	err := s.view(func(cat *catalog.Catalog) error {
		g, err := ownedGroup(cat, req.Msg.GetGroup(), c.user.ID)
		if err != nil {
			return err
		}
		for _, id := range cat.Requests(g.ID) {
			all = append(all, &pb.UserEntry{Id: id[:], Name: nameOf(cat, id), Role: roleRequested})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	users, next := page(all, req.Msg.GetCursor())
	return connect.NewResponse(&pb.ListRequestsResponse{Users: users, Next: next}), nil
}

// ListMembers lists who is in; for members.
func (s *Server) ListMembers(ctx context.Context, req *connect.Request[pb.GroupRequest]) (*connect.Response[pb.ListMembersResponse], error) {
	c := callOf(ctx)
	c.about(req.Msg.GetGroup().GetName(), "")
	c.firstPageOnly(req.Msg.GetCursor())
	var all []*pb.UserEntry
	err := s.view(func(cat *catalog.Catalog) error {
		g, err := memberGroup(cat, req.Msg.GetGroup(), c.user.ID)
		if err != nil {
			return err
		}
		for _, m := range cat.Members(g.ID) {
			role := roleMember
			if m.Owner {
				role = roleOwner
			}
			all = append(all, &pb.UserEntry{Id: m.User[:], Name: nameOf(cat, m.User), Role: role})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	members, next := page(all, req.Msg.GetCursor())
	return connect.NewResponse(&pb.ListMembersResponse{Members: members, Next: next}), nil
}

// page sorts users by name and cuts out those after the cursor. The cursor is
// a name and not a place, so that a list that changes meanwhile skips nobody.
func page(all []*pb.UserEntry, cursor string) (users []*pb.UserEntry, next string) {
	slices.SortFunc(all, func(a, b *pb.UserEntry) int { return cmp.Compare(a.GetName(), b.GetName()) })
	from := 0
	if cursor != "" {
		from, _ = slices.BinarySearchFunc(all, cursor, func(e *pb.UserEntry, name string) int {
			if e.GetName() <= name {
				return -1
			}
			return 1
		})
	}
	users = all[from:]
	if len(users) > protocol.PageSize {
		users = users[:protocol.PageSize]
		next = users[protocol.PageSize-1].GetName()
	}
	return users, next
}

// AnswerRequest lets somebody in or refuses; the owner's alone.
func (s *Server) AnswerRequest(ctx context.Context, req *connect.Request[pb.AnswerRequestRequest]) (*connect.Response[pb.GroupResponse], error) {
	if !req.Msg.GetAccept() {
		callOf(ctx).note.What = "reject_request"
	}
	return s.changeMember(ctx, memberAct{
		group: req.Msg.GetGroup(), user: req.Msg.GetUser(), wrong: "has not asked to join", allowed: ownedGroup,
		decide: func(cat *catalog.Catalog, g catalog.Group, u catalog.User, missing error) ([]catalog.Draft, error) {
			state := cat.Request(g.ID, u.ID)
			isMember := cat.IsMember(g.ID, u.ID)
			switch {
			case isMember && req.Msg.GetAccept(), state == catalog.RequestRefused && !isMember && !req.Msg.GetAccept():
				return nil, nil
			case state != catalog.RequestOpen || isMember:
				return nil, missing
			case !req.Msg.GetAccept():
				return catalog.SetRequest(g.ID, u.ID, catalog.RequestRefused), nil
			case g.Members >= protocol.MaxMembersPerGroup:
				return nil, limitReached("members of one group", protocol.MaxMembersPerGroup)
			}
			return cat.Grant(g.ID, u.ID), roomToJoin(cat, u.ID)
		},
	})
}

// RemoveMember ends somebody's membership; the owner's alone.
func (s *Server) RemoveMember(ctx context.Context, req *connect.Request[pb.MemberRequest]) (*connect.Response[pb.GroupResponse], error) {
	return s.changeMember(ctx, memberAct{
		group: req.Msg.GetGroup(), user: req.Msg.GetUser(), wrong: "is not a member of", allowed: ownedGroup,
		decide: func(cat *catalog.Catalog, g catalog.Group, u catalog.User, missing error) ([]catalog.Draft, error) {
			switch {
			case cat.IsMember(g.ID, u.ID):
				return cat.Remove(g.ID, u.ID, s.self.String()), nil
			case cat.LastRemoval(g.ID, u.ID).IsZero():
				return nil, missing
			}
			return nil, nil
		},
	})
}

// TransferGroup makes another member the owner; the owner's alone.
func (s *Server) TransferGroup(ctx context.Context, req *connect.Request[pb.MemberRequest]) (*connect.Response[pb.GroupResponse], error) {
	return s.changeMember(ctx, memberAct{
		group: req.Msg.GetGroup(), user: req.Msg.GetUser(), wrong: "is not a member of",
		// Whoever has just handed over and did not hear of it asks again as a mere
		// member. Of the creator that is plain to see.
		allowed: func(cat *catalog.Catalog, ref *pb.GroupRef, u protocol.UserID) (catalog.Group, error) {
			g, err := group(cat, ref)
			if to, ok := cat.UserNamed(req.Msg.GetUser().GetName()); err == nil && ok && g.Owner == to.ID &&
				g.Creator == u && cat.IsMember(g.ID, u) {
				return g, nil
			}
			return ownedGroup(cat, ref, u)
		},
		decide: func(cat *catalog.Catalog, g catalog.Group, u catalog.User, missing error) ([]catalog.Draft, error) {
			switch {
			case u.ID == g.Owner:
				return nil, nil
			case !cat.IsMember(g.ID, u.ID):
				return nil, missing
			}
			return cat.Transfer(g.ID, u.ID), roomToOwn(cat, u.ID)
		},
	})
}

// memberAct is what an owner does to another user.
type memberAct struct {
	group *pb.GroupRef
	user  *pb.UserRef
	// wrong says what is wrong with a user who does not fit.
	wrong   string
	allowed func(*catalog.Catalog, *pb.GroupRef, protocol.UserID) (catalog.Group, error)
	// decide gets the error for a user who does not fit.
	decide func(*catalog.Catalog, catalog.Group, catalog.User, error) ([]catalog.Draft, error)
}

func (s *Server) changeMember(ctx context.Context, act memberAct) (*connect.Response[pb.GroupResponse], error) {
	c := callOf(ctx)
	c.about(act.group.GetName(), act.user.GetName())
	var (
		g catalog.Group
		u catalog.User
	)
	stored, already, err := s.propose(ctx, func(cat *catalog.Catalog) (drafts []catalog.Draft, err error) {
		if g, err = act.allowed(cat, act.group, c.user.ID); err != nil {
			return nil, err
		}
		missing := protocol.Errorf(protocol.CodeNotFound, "%s %s %s", protocol.Quote(act.user.GetName()), act.wrong, protocol.Quote(g.Name))
		if u, err = user(cat, act.user, missing); err != nil {
			return nil, err
		}
		return act.decide(cat, g, u, missing)
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&pb.GroupResponse{
		GroupId: g.ID[:], Group: g.Name, User: u.Name, Stored: stored, Already: already,
	}), nil
}
