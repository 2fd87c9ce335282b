package node

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// rpc shortens the names of the service's methods.
type rpc = pb.TrackerServiceClient

// Group is a group and what the user is in it: owner, member, requested or none.
type Group struct{ Name, Role string }

// Member is a member of a group; Role is owner or member.
type Member struct{ User, Role string }

// stored turns what a tracker says about a change into what the caller is
// told, and warns when one disk alone has it.
func (n *Node) stored(s *pb.Stored, already bool) Stored {
	out := Stored{On: int(s.GetStoredOn()), Trackers: int(s.GetTrackers()), Already: already}
	if out.On == 1 && out.Trackers > 1 && !already {
		n.tell(Event{Kind: "stored_on_one", Text: "the change is stored on 1 of the trackers only, until it reaches another"})
	}
	return out
}

// CreateGroup makes a group that the user owns. Errors: E_EXISTS, E_NAME, E_LIMIT.
func (n *Node) CreateGroup(ctx context.Context, group string) (Stored, error) {
	if _, err := n.current(); err != nil {
		return Stored{}, err
	}
	if _, err := protocol.CanonicalGroup(group); err != nil {
		return Stored{}, err
	}
	nonce := protocol.NewNonce()
	res, err := trackers.Call(ctx, n.trackers, rpc.CreateGroup, &pb.CreateGroupRequest{Name: group, Nonce: nonce[:]})
	return n.changedGroup("create_group", group, "", res, err)
}

// changedGroup ends a call about a group: log, names, where it is stored.
func (n *Node) changedGroup(what, group, user string, res *pb.GroupResponse, err error) (Stored, error) {
	e := Event{Kind: what, Group: protocol.Printable(group), User: protocol.Printable(user), Text: "ok"}
	if err != nil {
		e.Text = string(protocol.CodeOf(err))
	}
	n.did(e)
	if err != nil {
		return Stored{}, n.names.check(err, group, user)
	}
	n.names.sawGroup(res.GetGroup(), res.GetGroupId())
	return n.stored(res.GetStored(), res.GetAlready()), nil
}

// onGroup makes a call that names a group alone.
func (n *Node) onGroup(ctx context.Context, what, group string, method trackers.Unary[pb.GroupRequest, pb.GroupResponse]) (Stored, error) {
	if _, err := n.current(); err != nil {
		return Stored{}, err
	}
	res, err := trackers.Call(ctx, n.trackers, method, &pb.GroupRequest{Group: n.names.group(group)})
	return n.changedGroup(what, group, "", res, err)
}

// onMember makes a call that names a group and a user.
func (n *Node) onMember(ctx context.Context, what, group, user string, method trackers.Unary[pb.MemberRequest, pb.GroupResponse]) (Stored, error) {
	if _, err := n.current(); err != nil {
		return Stored{}, err
	}
	res, err := trackers.Call(ctx, n.trackers, method, &pb.MemberRequest{Group: n.names.group(group), User: n.names.user(user)})
	return n.changedGroup(what, group, user, res, err)
}

// JoinGroup asks the owner of a group to be let in.
func (n *Node) JoinGroup(ctx context.Context, group string) (Stored, error) {
	return n.onGroup(ctx, "join_group", group, rpc.JoinGroup)
}

// LeaveGroup ends the user's membership, and with it what is shared here in the group.
func (n *Node) LeaveGroup(ctx context.Context, group string) (Stored, error) {
	a, err := n.current()
	if err != nil {
		return Stored{}, err
	}
	res, err := trackers.Call(ctx, n.trackers, rpc.LeaveGroup, &pb.GroupRequest{Group: n.names.group(group)})
	if err == nil {
		if id, idErr := protocol.IDFromBytes[protocol.GroupID](res.GetGroupId()); idErr == nil {
			a.lostGroup(id, res.GetGroup(), "you left the group")
		}
	}
	return n.changedGroup("leave_group", group, "", res, err)
}

// AcceptRequest makes a user a member. E_FORBIDDEN for all but the owner, as for the following.
func (n *Node) AcceptRequest(ctx context.Context, group, user string) (Stored, error) {
	return n.answer(ctx, "accept_request", group, user, true)
}

// RejectRequest refuses a user's request.
func (n *Node) RejectRequest(ctx context.Context, group, user string) (Stored, error) {
	return n.answer(ctx, "reject_request", group, user, false)
}

func (n *Node) answer(ctx context.Context, what, group, user string, accept bool) (Stored, error) {
	if _, err := n.current(); err != nil {
		return Stored{}, err
	}
	res, err := trackers.Call(ctx, n.trackers, rpc.AnswerRequest, &pb.AnswerRequestRequest{
		Group: n.names.group(group), User: n.names.user(user), Accept: accept,
	})
	return n.changedGroup(what, group, user, res, err)
}

// RemoveMember ends a user's membership.
func (n *Node) RemoveMember(ctx context.Context, group, user string) (Stored, error) {
	return n.onMember(ctx, "remove_member", group, user, rpc.RemoveMember)
}

// TransferGroup makes another member the owner.
func (n *Node) TransferGroup(ctx context.Context, group, user string) (Stored, error) {
	return n.onMember(ctx, "transfer_group", group, user, rpc.TransferGroup)
}

// Groups lists all groups of the network.
func (n *Node) Groups(ctx context.Context) ([]Group, error) {
	if _, err := n.current(); err != nil {
		return nil, err
	}
	groups := []Group{}
	err := pages(maxGroupsListed, func(cursor string) (*pb.ListGroupsResponse, int, error) {
		res, err := trackers.Call(ctx, n.trackers, rpc.ListGroups, &pb.ListGroupsRequest{Cursor: cursor})
		for _, g := range res.GetGroups() {
			n.names.sawGroup(g.GetName(), g.GetId())
			groups = append(groups, Group{Name: protocol.Printable(g.GetName()), Role: protocol.Printable(g.GetRole())})
		}
		return res, len(res.GetGroups()), err
	})
	if err != nil {
		return nil, err
	}
	return groups, nil
}

// Requests lists who asks to be let in; owner only.
func (n *Node) Requests(ctx context.Context, group string) ([]string, error) {
	if _, err := n.current(); err != nil {
		return nil, err
	}
	users := []string{}
	err := pages(maxRequestsListed, func(cursor string) (*pb.ListRequestsResponse, int, error) {
		res, err := trackers.Call(ctx, n.trackers, rpc.ListRequests, &pb.GroupRequest{Group: n.names.group(group), Cursor: cursor})
		for _, u := range res.GetUsers() {
			n.names.sawUser(u.GetName(), u.GetId())
			users = append(users, protocol.Printable(u.GetName()))
		}
		return res, len(res.GetUsers()), err
	})
	if err != nil {
		return nil, n.names.check(err, group, "")
	}
	return users, nil
}

// Members lists the members; members only.
func (n *Node) Members(ctx context.Context, group string) ([]Member, error) {
	if _, err := n.current(); err != nil {
		return nil, err
	}
	members := []Member{}
	err := pages(maxMembersListed, func(cursor string) (*pb.ListMembersResponse, int, error) {
		res, err := trackers.Call(ctx, n.trackers, rpc.ListMembers, &pb.GroupRequest{Group: n.names.group(group), Cursor: cursor})
		for _, u := range res.GetMembers() {
			n.names.sawUser(u.GetName(), u.GetId())
			members = append(members, Member{User: protocol.Printable(u.GetName()), Role: protocol.Printable(u.GetRole())})
		}
		return res, len(res.GetMembers()), err
	})
	if err != nil {
		return nil, n.names.check(err, group, "")
	}
	return members, nil
}

// What a list may have: twice what the protocol allows of its kind, since
// either side of a cut may fill it, and more groups than make sense.
const (
	maxGroupsListed   = 100_000
	maxMembersListed  = 2 * protocol.MaxMembersPerGroup
	maxRequestsListed = 2 * protocol.MaxRequestsPerGroup
	maxFilesListed    = 2 * protocol.MaxFilesPerGroup
	// entryBytes is above what an entry of any list takes on the wire, on average
	// over a page.
	entryBytes = 512
)

// page is a reply with a part of a list.
type page interface {
	proto.Message
	GetNext() string
}

// pages calls next with each cursor until there is none. It ends a list of a
// tracker that has more than most entries, or gives pages without any.
func pages[P page](most int, next func(cursor string) (page P, entries int, err error)) error {
	cursor, left, bytesLeft := "", most, most*entryBytes
	for {
		p, entries, err := next(cursor)
		if err != nil {
			return err
		}
		left, bytesLeft = left-entries, bytesLeft-proto.Size(p)
		if entries > protocol.MaxElements || left < 0 || bytesLeft < 0 {
			return protocol.Errorf(protocol.CodeInternal, "the tracker's list is longer than any that a tracker of this version gives (%d entries)", most)
		}
		to := p.GetNext()
		if to == "" || to == cursor {
			return nil
		}
		if entries == 0 {
			return protocol.Errorf(protocol.CodeInternal, "the tracker's list has no end")
		}
		cursor = to
	}
}
