package rpc

import (
	"context"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// CreateGroup makes a group that the caller owns. Its id follows from the
// caller, the name and the nonce, so the same request again is the same group.
func (s *Server) CreateGroup(ctx context.Context, req *connect.Request[pb.CreateGroupRequest]) (*connect.Response[pb.GroupResponse], error) {
	c := callOf(ctx)
	c.about(req.Msg.GetName(), "")
	canonical, err := protocol.CanonicalGroup(req.Msg.GetName())
	if err != nil {
		return nil, err
	}
	nonce, err := protocol.IDFromBytes[protocol.Nonce](req.Msg.GetNonce())
	if err != nil {
		return nil, err
	}
	id := protocol.NewGroupID(c.user.ID, canonical, nonce)
	stored, already, err := s.propose(ctx, func(cat *catalog.Catalog) ([]catalog.Draft, error) {
		if _, ok := cat.Group(id); ok {
			return nil, nil
		}
		// A group that everybody has left is gone for good.
		if _, taken := cat.GroupNamed(canonical); taken || !cat.LastRemoval(id, c.user.ID).IsZero() {
			return nil, nameTaken(req.Msg.GetName())
		}
		if err := roomToJoin(cat, c.user.ID); err != nil {
			return nil, err
		}
		return catalog.NewGroup(id, req.Msg.GetName(), c.user.ID), roomToOwn(cat, c.user.ID)
	})
	if err != nil {
		return nil, err
	}
	name := req.Msg.GetName()
	s.replica.View(func(cat *catalog.Catalog) {
		if g, ok := cat.Group(id); ok {
			name = g.Name
		}
	})
	return connect.NewResponse(&pb.GroupResponse{
		GroupId: id[:], Group: name, User: c.user.Name, Stored: stored, Already: already,
	}), nil
}

// roomToJoin checks how many groups a user is in already.
func roomToJoin(c *catalog.Catalog, u protocol.UserID) error {
	if len(c.GroupsOf(u)) >= protocol.MaxGroupsJoined {
		return limitReached("groups of one user", protocol.MaxGroupsJoined)
	}
	return nil
}

// roomToOwn checks how many groups a user owns already.
func roomToOwn(c *catalog.Catalog, u protocol.UserID) error {
	owned := 0
	for _, g := range c.GroupsOf(u) {
		if g.Owner == u {
			owned++
		}
	}
	if owned >= protocol.MaxGroupsOwned {
		return limitReached("groups that one user owns", protocol.MaxGroupsOwned)
	}
	return nil
}

// ListGroups lists the names of all groups, which every user may know, with
// the caller's role.
func (s *Server) ListGroups(ctx context.Context, req *connect.Request[pb.ListGroupsRequest]) (*connect.Response[pb.ListGroupsResponse], error) {
	c := callOf(ctx)
	c.firstPageOnly(req.Msg.GetCursor())
	reply := &pb.ListGroupsResponse{}
	s.replica.View(func(cat *catalog.Catalog) {
		for g := range cat.Groups(req.Msg.GetCursor()) {
			if len(reply.Groups) == protocol.PageSize {
				reply.Next = reply.Groups[protocol.PageSize-1].GetName()
				return
			}
			reply.Groups = append(reply.Groups, &pb.GroupEntry{Id: g.ID[:], Name: g.Name, Role: roleOf(cat, g, c.user.ID)})
		}
	})
	return connect.NewResponse(reply), nil
}

// firstPageOnly keeps the further pages of a list out of the activity log.
func (c *call) firstPageOnly(cursor string) {
	if cursor != "" {
		c.rule.what, c.note.What = "", ""
	}
}

// JoinGroup asks the owner to be let in.
func (s *Server) JoinGroup(ctx context.Context, req *connect.Request[pb.GroupRequest]) (*connect.Response[pb.GroupResponse], error) {
	return s.changeGroup(ctx, req.Msg.GetGroup(), func(cat *catalog.Catalog, c *call) (catalog.Group, []catalog.Draft, error) {
		g, err := group(cat, req.Msg.GetGroup())
		if err != nil {
			return g, nil, err
		}
		u := c.user.ID
		switch {
		case cat.IsMember(g.ID, u), cat.Request(g.ID, u) == catalog.RequestOpen:
			return g, nil, nil
		case len(cat.Requests(g.ID)) >= protocol.MaxRequestsPerGroup:
			return g, nil, limitReached("open requests to join one group", protocol.MaxRequestsPerGroup)
		case cat.OpenRequestsOf(u) >= protocol.MaxRequestsPerUser:
			return g, nil, limitReached("open requests of one user", protocol.MaxRequestsPerUser)
		}
		return g, catalog.SetRequest(g.ID, u, catalog.RequestOpen), roomToJoin(cat, u)
	})
}

// LeaveGroup ends the caller's membership, or withdraws the request to join.
// When the owner leaves, the longest-standing member owns the group.
func (s *Server) LeaveGroup(ctx context.Context, req *connect.Request[pb.GroupRequest]) (*connect.Response[pb.GroupResponse], error) {
	return s.changeGroup(ctx, req.Msg.GetGroup(), func(cat *catalog.Catalog, c *call) (catalog.Group, []catalog.Draft, error) {
		g, err := group(cat, req.Msg.GetGroup())
		if err != nil {
			return g, nil, err
		}
		u := c.user.ID
		switch {
		case cat.IsMember(g.ID, u):
			return g, cat.Remove(g.ID, u, s.self.String()), nil
		case cat.Request(g.ID, u) == catalog.RequestOpen:
			return g, catalog.SetRequest(g.ID, u, catalog.RequestWithdrawn), nil
		case !cat.LastRemoval(g.ID, u).IsZero():
			return g, nil, nil // left or removed before
		}
		return g, nil, notMember(g.Name)
	})
}

// changeGroup makes one change to a group and answers with the caller's name.
func (s *Server) changeGroup(ctx context.Context, ref *pb.GroupRef,
	decide func(*catalog.Catalog, *call) (catalog.Group, []catalog.Draft, error),
) (*connect.Response[pb.GroupResponse], error) {
	c := callOf(ctx)
	c.about(ref.GetName(), "")
	var g catalog.Group
	stored, already, err := s.propose(ctx, func(cat *catalog.Catalog) (drafts []catalog.Draft, err error) {
		g, drafts, err = decide(cat, c)
		return drafts, err
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&pb.GroupResponse{
		GroupId: g.ID[:], Group: g.Name, User: c.user.Name, Stored: stored, Already: already,
	}), nil
}
