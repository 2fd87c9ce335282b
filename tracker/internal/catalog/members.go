package catalog

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/p2pshare/p2pshare/protocol"
)

// Member is one member of a group.
type Member struct {
	User  protocol.UserID
	Since protocol.Stamp
	Owner bool
}

// RequestState is where a request to join stands.
type RequestState byte

// The states of a request.
const (
	RequestNone RequestState = iota
	RequestOpen
	RequestAccepted
	RequestRefused
	RequestWithdrawn
)

// membership is what is known of one user in one group.
type membership struct {
	group *groupState
	user  protocol.UserID

	request   RequestState
	requested protocol.Stamp // of the request's state

	removals  []protocol.Stamp // the last one of each tracker, by tracker
	granted   protocol.Stamp   // zero: never
	grantSeen []protocol.Stamp
	isMember  bool // granted, and the grant has seen all removals

	shares map[shareID]*share
}

func (c *Catalog) membership(gid protocol.GroupID, uid protocol.UserID) *membership {
	g := c.group(gid)
	m := g.people[uid]
	if m == nil {
		m = &membership{group: g, user: uid}
		if g.people == nil {
			g.people = make(map[protocol.UserID]*membership)
		}
		g.people[uid] = m
		u := c.user(uid)
		if u.groups == nil {
			u.groups = make(map[protocol.GroupID]*membership)
		}
		u.groups[gid] = m
	}
	return m
}

func (c *Catalog) known(gid protocol.GroupID, uid protocol.UserID) *membership {
	if g := c.groups[gid]; g != nil {
		return g.people[uid]
	}
	return nil
}

// refreshMember works out what a new grant or removal means: for the user, the
// owner, the shares, and whether the group is still there.
func (c *Catalog) refreshMember(m *membership) {
	was := m.isMember
	m.isMember = !m.granted.IsZero() && hasSeen(m.grantSeen, m.removals)
	switch {
	case m.isMember && !was:
		m.group.members++
	case was && !m.isMember:
		m.group.members--
	}
	m.group.refreshOwner()
	c.refreshGroup(m.group)
	for _, s := range m.shares {
		c.refreshShare(s)
	}
}

func (m *membership) setRequest(state RequestState, s protocol.Stamp) {
	m.request, m.requested = state, s
	delete(m.group.open, m.user)
	if state == RequestOpen {
		if m.group.open == nil {
			m.group.open = make(map[protocol.UserID]*membership)
		}
		m.group.open[m.user] = m
	}
}

// waits reports whether there is a request for somebody to decide about.
func (m *membership) waits() bool {
	return m.request == RequestOpen && !m.isMember && m.group.isAlive
}

// IsMember reports whether u has a grant that has seen every removal.
func (c *Catalog) IsMember(g protocol.GroupID, u protocol.UserID) bool {
	m := c.known(g, u)
	return m != nil && m.isMember
}

// LastRemoval returns the latest stamp of any removal of u from g, zero if none.
func (c *Catalog) LastRemoval(g protocol.GroupID, u protocol.UserID) protocol.Stamp {
	var last protocol.Stamp
	if m := c.known(g, u); m != nil {
		for _, s := range m.removals {
			if s.After(last) {
				last = s
			}
		}
	}
	return last
}

// Members returns the members of a group, the longest-standing first.
func (c *Catalog) Members(id protocol.GroupID) []Member {
	g := c.groups[id]
	if g == nil {
		return nil
	}
	out := make([]Member, 0, g.members)
	for uid, m := range g.people {
		if m.isMember {
			out = append(out, Member{User: uid, Since: m.granted, Owner: uid == g.owner})
		}
	}
	slices.SortFunc(out, func(a, b Member) int {
		return cmp.Or(a.Since.Compare(b.Since), bytes.Compare(a.User[:], b.User[:]))
	})
	return out
}

// Request returns where u's request to join g stands.
func (c *Catalog) Request(g protocol.GroupID, u protocol.UserID) RequestState {
	if m := c.known(g, u); m != nil {
		return m.request
	}
	return RequestNone
}

// Requests returns the users with an open request, the earliest first. A
// request of somebody who is a member by now is not open.
func (c *Catalog) Requests(id protocol.GroupID) []protocol.UserID {
	g := c.groups[id]
	if g == nil {
		return nil
	}
	var waiting []*membership
	for _, m := range g.open {
		if m.waits() {
			waiting = append(waiting, m)
		}
	}
	slices.SortFunc(waiting, func(a, b *membership) int {
		return cmp.Or(a.requested.Compare(b.requested), bytes.Compare(a.user[:], b.user[:]))
	})
	out := make([]protocol.UserID, len(waiting))
	for i, m := range waiting {
		out[i] = m.user
	}
	return out
}

// OpenRequestsOf counts the open requests of a user.
func (c *Catalog) OpenRequestsOf(id protocol.UserID) int {
	u := c.users[id]
	if u == nil {
		return 0
	}
	n := 0
	for _, m := range u.groups {
		if m.waits() {
			n++
		}
	}
	return n
}
