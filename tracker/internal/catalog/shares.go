package catalog

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/p2pshare/p2pshare/protocol"
)

// Share is one share that counts.
type Share struct {
	Group protocol.GroupID
	File  protocol.FileID
	User  protocol.UserID
	Peer  string
}

// shareID tells the shares of one user in one group apart.
type shareID struct {
	file protocol.FileID
	peer string
}

type share struct {
	of     *membership
	id     shareID
	on     bool
	seen   []protocol.Stamp
	counts bool // on, of a member, and has seen all removals
}

func (s *share) view() Share {
	return Share{Group: s.of.group.id, File: s.id.file, User: s.of.user, Peer: s.id.peer}
}

func (c *Catalog) setShare(p parts, v shareValue) {
	m := c.membership(p.group, p.user)
	id := shareID{file: p.file, peer: p.peer}
	s := m.shares[id]
	if s == nil {
		s = &share{of: m, id: id}
		if m.shares == nil {
			m.shares = make(map[shareID]*share)
		}
		m.shares[id] = s
	}
	s.on, s.seen = v.on, v.seen
	c.refreshShare(s)
}

// refreshShare works out whether a share counts, and what that means for the
// names of its file.
func (c *Catalog) refreshShare(s *share) {
	counts := s.on && s.of.isMember && hasSeen(s.seen, s.of.removals)
	if counts == s.counts {
		return
	}
	s.counts = counts
	g := s.of.group
	f := g.file(s.id.file)
	if counts {
		f.counting = append(f.counting, s)
		if len(f.counting) > 1 {
			return
		}
	} else {
		i := slices.Index(f.counting, s)
		last := len(f.counting) - 1
		f.counting[i] = f.counting[last]
		f.counting = slices.Delete(f.counting, last, last+1)
		if last > 0 {
			return
		}
	}
	c.refreshFileName(g, f.canonical)
}

// IsShared reports whether u's client at peer shares the file in g, and the share counts.
func (c *Catalog) IsShared(s Share) bool {
	m := c.known(s.Group, s.User)
	if m == nil {
		return false
	}
	known := m.shares[shareID{file: s.File, peer: s.Peer}]
	return known != nil && known.counts
}

// Shares returns the shares of a file in a group that count.
func (c *Catalog) Shares(gid protocol.GroupID, id protocol.FileID) []Share {
	g := c.groups[gid]
	if g == nil || g.files.files[id] == nil {
		return nil
	}
	counting := g.files.files[id].counting
	out := make([]Share, len(counting))
	for i, s := range counting {
		out[i] = s.view()
	}
	slices.SortFunc(out, Share.compare)
	return out
}

// SharesOf returns the shares of a user that count, over all groups and clients.
func (c *Catalog) SharesOf(id protocol.UserID) []Share {
	u := c.users[id]
	if u == nil {
		return nil
	}
	var out []Share
	for _, m := range u.groups {
		for _, s := range m.shares {
			if s.counts {
				out = append(out, s.view())
			}
		}
	}
	slices.SortFunc(out, Share.compare)
	return out
}

func (s Share) compare(t Share) int {
	return cmp.Or(bytes.Compare(s.Group[:], t.Group[:]), bytes.Compare(s.File[:], t.File[:]),
		bytes.Compare(s.User[:], t.User[:]), strings.Compare(s.Peer, t.Peer))
}
