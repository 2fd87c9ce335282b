package catalog

import "github.com/p2pshare/p2pshare/protocol"

// ShareFile is the file, the share, and a claim of the name where no claim in
// force points to the file or where u holds the name with other content.
// manifestBytes is the length of the manifest's encoding. It drafts nothing
// where all of that is so already.
func (c *Catalog) ShareFile(s Share, m *protocol.Manifest, manifestBytes int64) []Draft {
	var out []Draft
	if _, ok := c.File(s.Group, s.File); !ok {
		out = append(out, draft(fileKey(s.Group, s.File), fileValue{
			name: m.Name, size: m.Size, sha1: m.SHA1, manifest: manifestBytes, sharer: s.User,
		}))
	}
	if !c.IsShared(s) {
		out = append(out, draft(shareKey(s), shareValue{on: true, seen: c.seen(s.Group, s.User)}))
	}
	return append(out, c.claimFor(s, m.Name)...)
}

// claimFor returns the claim that sharing a file of that name makes, if any.
func (c *Catalog) claimFor(s Share, name string) []Draft {
	canonical, err := protocol.CanonicalFile(name)
	if err != nil {
		return nil
	}
	claim := claimValue{file: s.File}
	holder, now, held := c.fileNameHolder(s.Group, canonical)
	switch {
	case held && now.id == s.File:
		return nil
	case held && holder == s.User:
		claim.since = now.since
	case c.hasName(s.Group, s.File):
		return nil
	}
	return []Draft{draft(fileNameKey(s.Group, canonical, s.User), claim)}
}

// hasName reports whether a claim in force points to the file.
func (c *Catalog) hasName(gid protocol.GroupID, id protocol.FileID) bool {
	g := c.groups[gid]
	if g == nil {
		return false
	}
	_, i := g.nameOf(id)
	return i >= 0
}

// StopShare ends a share.
func (c *Catalog) StopShare(s Share) []Draft {
	m := c.known(s.Group, s.User)
	if m == nil {
		return nil
	}
	known := m.shares[shareID{file: s.File, peer: s.Peer}]
	if known == nil || !known.on {
		return nil
	}
	return []Draft{draft(shareKey(s), shareValue{seen: known.seen})}
}
