package catalog

import (
	"bytes"
	"cmp"
	"iter"
	"slices"
	"strings"

	"github.com/p2pshare/p2pshare/protocol"
)

// Group is a group that has members.
type Group struct {
	ID        protocol.GroupID
	Name      string // as shown
	Canonical string
	Creator   protocol.UserID
	Owner     protocol.UserID
	Created   protocol.Stamp
	Members   int
}

// groupState is what is known of a group, in whatever order it came.
type groupState struct {
	id        protocol.GroupID
	name      string // as written; "" as long as there is no group fact
	canonical string
	creator   protocol.UserID
	created   protocol.Stamp

	people  map[protocol.UserID]*membership
	members int
	open    map[protocol.UserID]*membership // those with an open request
	isAlive bool                            // has a group fact and members

	written     protocol.UserID // by the last transfer; zero: none
	writtenSeen []protocol.Stamp
	owner       protocol.UserID // who owns it now; zero: nobody

	files groupFiles
}

func (c *Catalog) group(id protocol.GroupID) *groupState {
	g := c.groups[id]
	if g == nil {
		g = &groupState{id: id}
		c.groups[id] = g
	}
	return g
}

func (c *Catalog) setGroup(id protocol.GroupID, v groupValue, s protocol.Stamp) {
	g := c.group(id)
	before := g.canonical
	g.name, g.creator, g.created = v.name, v.creator, s
	g.canonical, _ = protocol.CanonicalGroup(v.name) // checked when it was decoded
	g.refreshOwner()
	c.refreshGroup(g)
	if before != g.canonical {
		c.refreshGroupName(before, g.id)
		c.refreshGroupName(g.canonical, g.id)
	}
}

// refreshOwner works out who owns the group. The scan over all members is for
// groups whose creator was removed and that nobody transferred.
func (g *groupState) refreshOwner() {
	if m := g.people[g.written]; m != nil && m.isMember && hasSeen(g.writtenSeen, m.removals) {
		g.owner = g.written
		return
	}
	if m := g.people[g.creator]; m != nil && m.isMember && len(m.removals) == 0 {
		g.owner = g.creator
		return
	}
	var oldest *membership
	for _, m := range g.people {
		if m.isMember && (oldest == nil || cmp.Or(m.granted.Compare(oldest.granted), bytes.Compare(m.user[:], oldest.user[:])) < 0) {
			oldest = m
		}
	}
	g.owner = protocol.UserID{}
	if oldest != nil {
		g.owner = oldest.user
	}
}

// refreshGroup notices that a group has come to life or is gone.
func (c *Catalog) refreshGroup(g *groupState) {
	alive := g.name != "" && g.members > 0
	if alive == g.isAlive {
		return
	}
	g.isAlive = alive
	if alive {
		c.alive++
	} else {
		c.alive--
	}
	c.refreshGroupName(g.canonical, g.id)
}

// refreshGroupName notices that a claim on the name of a group is in force, or not
// any more: one of a group of that name with members is.
func (c *Catalog) refreshGroupName(name string, id protocol.GroupID) {
	g := c.groups[id]
	claim, claimed := c.Get(groupNameKey(name, id))
	c.groupNames.set(name, id, claim.Stamp, claimed && g != nil && g.isAlive && g.canonical == name)
	if len(c.groupNames.inForce(name)) > 0 {
		c.groupOrder.insert(name)
	} else {
		c.groupOrder.remove(name)
	}
}

func (c *Catalog) viewGroup(g *groupState) Group {
	return Group{
		ID:        g.id,
		Name:      g.name + c.groupNames.suffixOf(g.canonical, g.id),
		Canonical: g.canonical,
		Creator:   g.creator,
		Owner:     g.owner,
		Created:   g.created,
		Members:   g.members,
	}
}

// Group returns the group of an id, unless nobody is a member any more.
func (c *Catalog) Group(id protocol.GroupID) (Group, bool) {
	g := c.groups[id]
	if g == nil || !g.isAlive {
		return Group{}, false
	}
	return c.viewGroup(g), true
}

// GroupNamed returns the group that is shown as name (any case) now.
func (c *Catalog) GroupNamed(name string) (Group, bool) {
	base, digits := splitShown(name)
	canonical, err := protocol.CanonicalGroup(base)
	if err != nil {
		return Group{}, false
	}
	in := c.groupNames.inForce(canonical)
	i, ok := in.shown(digits)
	if !ok {
		return Group{}, false
	}
	return c.Group(in[i].id)
}

// Groups yields all groups ordered by canonical shown name, those after a name
// only. Those of one name follow each other in the order of their suffixes.
func (c *Catalog) Groups(after string) iter.Seq[Group] {
	return func(yield func(Group) bool) {
		base, digits := splitShown(after)
		base = strings.ToLower(base)
		for name := range c.groupOrder.from(base) {
			in := c.groupNames.inForce(name)
			for _, i := range in.after(digits, name != base) {
				if g, ok := c.Group(in[i].id); ok && !yield(g) {
					return
				}
			}
		}
	}
}

// GroupsOf returns the groups of a user, ordered by name.
func (c *Catalog) GroupsOf(id protocol.UserID) []Group {
	u := c.users[id]
	if u == nil {
		return nil
	}
	var out []Group
	for _, m := range u.groups {
		if m.isMember && m.group.isAlive {
			out = append(out, c.viewGroup(m.group))
		}
	}
	slices.SortFunc(out, func(a, b Group) int {
		return cmp.Or(strings.Compare(a.Canonical, b.Canonical), strings.Compare(a.Name, b.Name), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return out
}
