package rpc

import (
	"bytes"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// The roles in a group, as clients see them.
const (
	roleOwner     = "owner"
	roleMember    = "member"
	roleRequested = "requested"
	roleNone      = "none"
)

// group finds the group that a client names. The id beside the name is what
// the client showed for it last: when the name means another one now, nothing
// may happen. Errors: E_NOT_FOUND, E_RENAMED.
func group(c *catalog.Catalog, ref *pb.GroupRef) (catalog.Group, error) {
	var shown protocol.GroupID
	if len(ref.GetId()) > 0 {
		id, err := protocol.IDFromBytes[protocol.GroupID](ref.GetId())
		if err != nil {
			return catalog.Group{}, err
		}
		shown = id
	}
	g, ok := c.GroupNamed(ref.GetName())
	switch {
	case ok && (shown.IsZero() || shown == g.ID):
		return g, nil
	case ok:
		return catalog.Group{}, renamed("group", ref.GetName())
	case !shown.IsZero():
		if _, ok := c.Group(shown); ok {
			return catalog.Group{}, renamed("group", ref.GetName())
		}
	}
	return catalog.Group{}, protocol.Errorf(protocol.CodeNotFound, "there is no group %s", protocol.Quote(ref.GetName()))
}

// memberGroup is group for members only.
func memberGroup(c *catalog.Catalog, ref *pb.GroupRef, u protocol.UserID) (catalog.Group, error) {
	g, err := group(c, ref)
	if err != nil {
		return g, err
	}
	if !c.IsMember(g.ID, u) {
		return catalog.Group{}, notMember(g.Name)
	}
	return g, nil
}

// ownedGroup is group for its owner only.
func ownedGroup(c *catalog.Catalog, ref *pb.GroupRef, u protocol.UserID) (catalog.Group, error) {
	g, err := group(c, ref)
	if err != nil {
		return g, err
	}
	if g.Owner != u {
		return catalog.Group{}, notOwner(g.Name)
	}
	return g, nil
}

// memberGroupByID is for requests that carry only the id. Errors: E_NOT_MEMBER
// for a group that does not exist, too.
func memberGroupByID(c *catalog.Catalog, id []byte, u protocol.UserID) (catalog.Group, error) {
	gid, err := protocol.IDFromBytes[protocol.GroupID](id)
	if err != nil {
		return catalog.Group{}, err
	}
	g, ok := c.Group(gid)
	if !ok || !c.IsMember(gid, u) {
		return catalog.Group{}, protocol.Errorf(protocol.CodeNotMember, "you are not a member of this group")
	}
	return g, nil
}

// user finds the user that a client names, as group does. missing says what
// the caller hears of a name that nobody has: the same as of somebody who has
// nothing to do with the group, so that names cannot be tried.
func user(c *catalog.Catalog, ref *pb.UserRef, missing error) (catalog.User, error) {
	u, ok := c.UserNamed(ref.GetName())
	if id := ref.GetId(); len(id) > 0 {
		shown, err := protocol.IDFromBytes[protocol.UserID](id)
		if err != nil {
			return catalog.User{}, err
		}
		if _, exists := c.User(shown); ok && !bytes.Equal(id, u.ID[:]) || !ok && exists {
			return catalog.User{}, renamed("user", ref.GetName())
		}
	}
	if !ok {
		return catalog.User{}, missing
	}
	return u, nil
}

// nameOf is how a user is shown; an id whose account has not come yet stands for itself.
func nameOf(c *catalog.Catalog, id protocol.UserID) string {
	if u, ok := c.User(id); ok {
		return u.Name
	}
	return id.String()
}

func roleOf(c *catalog.Catalog, g catalog.Group, u protocol.UserID) string {
	switch {
	case g.Owner == u:
		return roleOwner
	case c.IsMember(g.ID, u):
		return roleMember
	case c.Request(g.ID, u) == catalog.RequestOpen:
		return roleRequested
	default:
		return roleNone
	}
}

func renamed(kind, name string) error {
	return protocol.Errorf(protocol.CodeRenamed, "the %s name %s now means another %s than before; nothing was done",
		kind, protocol.Quote(name), kind)
}

func notMember(group string) error {
	return protocol.Errorf(protocol.CodeNotMember, "you are not a member of %s", protocol.Quote(group))
}

func notOwner(group string) error {
	return protocol.Errorf(protocol.CodeForbidden, "only the owner of %s can do that", protocol.Quote(group))
}

func limitReached(what string, n int) error {
	return protocol.Errorf(protocol.CodeLimit, "limit reached: %s (%d)", what, n)
}
