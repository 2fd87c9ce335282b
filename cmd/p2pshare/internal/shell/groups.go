package shell

import (
	"context"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

// onGroup makes the command that changes one group; format gets the group.
func onGroup(do func(Client, context.Context, string) (node.Stored, error), format string) runFunc {
	return func(ctx context.Context, s *Shell, c call) (result, error) {
		st, err := do(s.Client, ctx, c.arg(0))
		if err != nil {
			return result{}, err
		}
		return change(st, fields{"group": c.arg(0)}, format, protocol.Printable(c.arg(0))), nil
	}
}

// onUser makes the command that changes what a user is in a group; format gets
// the user, then the group.
func onUser(do func(Client, context.Context, string, string) (node.Stored, error), format string) runFunc {
	return func(ctx context.Context, s *Shell, c call) (result, error) {
		st, err := do(s.Client, ctx, c.arg(0), c.arg(1))
		if err != nil {
			return result{}, err
		}
		return change(st, fields{"group": c.arg(0), "user": c.arg(1)}, format, protocol.Printable(c.arg(1)), protocol.Printable(c.arg(0))), nil
	}
}

func createGroup(ctx context.Context, s *Shell, c call) (result, error) {
	return onGroup(Client.CreateGroup, "group %s created")(ctx, s, c)
}

func joinGroup(ctx context.Context, s *Shell, c call) (result, error) {
	return onGroup(Client.JoinGroup, "request to join %s sent")(ctx, s, c)
}

func leaveGroup(ctx context.Context, s *Shell, c call) (result, error) {
	return onGroup(Client.LeaveGroup, "left %s")(ctx, s, c)
}

func acceptRequest(ctx context.Context, s *Shell, c call) (result, error) {
	return onUser(Client.AcceptRequest, "%s is now a member of %s")(ctx, s, c)
}

func rejectRequest(ctx context.Context, s *Shell, c call) (result, error) {
	return onUser(Client.RejectRequest, "request of %s to join %s refused")(ctx, s, c)
}

func removeMember(ctx context.Context, s *Shell, c call) (result, error) {
	r, err := onUser(Client.RemoveMember, "%s is no longer a member of %s")(ctx, s, c)
	if self, _ := s.Client.User(); err == nil && same(protocol.CanonicalUser, self, c.arg(1)) {
		s.Progress.Note("note: you have left the group; the member who is in for longest owns it now, and without members it is gone")
	}
	return r, err
}

func transferGroup(ctx context.Context, s *Shell, c call) (result, error) {
	return onUser(Client.TransferGroup, "%s now owns %s")(ctx, s, c)
}

func listGroups(ctx context.Context, s *Shell, _ call) (result, error) {
	groups, err := s.Client.Groups(ctx)
	if err != nil {
		return result{}, err
	}
	var r result
	all := []fields{}
	for _, g := range groups {
		text := columns(g.Name)
		if s.atTerminal && g.Role != "none" {
			text = columns(g.Name, g.Role)
		}
		r.lines = append(r.lines, text)
		all = append(all, fields{"name": g.Name, "role": g.Role})
	}
	r.fields = fields{"groups": all}
	return r, nil
}

func listRequests(ctx context.Context, s *Shell, c call) (result, error) {
	users, err := s.Client.Requests(ctx, c.arg(0))
	if err != nil {
		return result{}, err
	}
	var r result
	all := []string{}
	for _, u := range users {
		r.lines = append(r.lines, columns(u))
		all = append(all, u)
	}
	r.fields = fields{"users": all}
	return r, nil
}

func listMembers(ctx context.Context, s *Shell, c call) (result, error) {
	members, err := s.Client.Members(ctx, c.arg(0))
	if err != nil {
		return result{}, err
	}
	var r result
	all := []fields{}
	for _, m := range members {
		r.lines = append(r.lines, columns(m.User, m.Role))
		all = append(all, fields{"user": m.User, "role": m.Role})
	}
	r.fields = fields{"members": all}
	return r, nil
}
