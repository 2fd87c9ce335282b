package catalog

import (
	"strings"

	"github.com/p2pshare/p2pshare/protocol"
)

// NewGroup is a group, its name, and its creator's grant.
func NewGroup(id protocol.GroupID, name string, creator protocol.UserID) []Draft {
	canonical := strings.ToLower(name)
	return []Draft{
		draft(groupKey(id), groupValue{name: name, creator: creator}),
		draft(groupNameKey(canonical, id), groupNameValue{}),
		draft(groupUserKey("grant", id, creator), grantValue{}),
	}
}

// SetRequest writes where a request to join stands.
func SetRequest(g protocol.GroupID, u protocol.UserID, s RequestState) []Draft {
	return []Draft{draft(groupUserKey("request", g, u), requestValue{state: s})}
}

// Grant makes u a member, and settles an open request.
func (c *Catalog) Grant(g protocol.GroupID, u protocol.UserID) []Draft {
	var out []Draft
	if !c.IsMember(g, u) {
		out = append(out, draft(groupUserKey("grant", g, u), grantValue{seen: c.seen(g, u)}))
	}
	if c.Request(g, u) == RequestOpen {
		out = append(out, SetRequest(g, u, RequestAccepted)...)
	}
	return out
}

// Remove ends u's membership, and a request that was made on the far side of a
// cut while u was let in on this one: the owner would find it again. origin is the tracker that writes it, as in the
// stamps that it makes.
func (c *Catalog) Remove(g protocol.GroupID, u protocol.UserID, origin string) []Draft {
	if !c.IsMember(g, u) {
		return nil
	}
	out := []Draft{draft(groupUserKey("removed", g, u)+"/"+Key(origin), removedValue{})}
	if c.Request(g, u) == RequestOpen {
		out = append(out, SetRequest(g, u, RequestWithdrawn)...)
	}
	return out
}

// Transfer makes u the owner.
func (c *Catalog) Transfer(g protocol.GroupID, u protocol.UserID) []Draft {
	if group, ok := c.Group(g); ok && group.Owner == u {
		return nil
	}
	return []Draft{draft(ownerKey(g), ownerValue{user: u, seen: c.seen(g, u)})}
}

// seen returns the removals of u from g that what is written now has seen: the
// last one of each tracker, of those that are here and those that the grant knows,
// which may be on their way.
func (c *Catalog) seen(g protocol.GroupID, u protocol.UserID) []protocol.Stamp {
	m := c.known(g, u)
	if m == nil {
		return nil
	}
	all := m.removals
	for _, s := range m.grantSeen {
		if !hasSeen(all, []protocol.Stamp{s}) {
			all = withRemoval(all, s)
		}
	}
	return all
}
