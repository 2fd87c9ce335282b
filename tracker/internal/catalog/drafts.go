package catalog

import (
	"strings"

	"github.com/p2pshare/p2pshare/protocol"
)

// What the drafts need to know of the catalog (the removals seen, since when a
// name is held) they read from it at the time of the change; whether the
// caller may make the change is not theirs to decide. What has come true
// already is not drafted again.

func draft(k Key, v value) Draft { return Draft{Key: k, Value: encode(v)} }

// NameClaims are the claims of names in drafts, for reservation: the keys
// name/... and filename/... in ds.
func NameClaims(ds []Draft) []Key {
	var out []Key
	for _, d := range ds {
		if strings.HasPrefix(string(d.Key), "name/") || strings.HasPrefix(string(d.Key), "filename/") {
			out = append(out, d.Key)
		}
	}
	return out
}

// ClaimHeld reports whether somebody else's claim on the name of key is in
// force, so that the claim would lose. Who holds the name may claim it anew.
func (c *Catalog) ClaimHeld(k Key) bool {
	p, err := parseKey(k)
	if err != nil {
		return false
	}
	switch p.kind {
	case KindUserName:
		return c.userNames.inForce(p.name).isHeld(p.user)
	case KindGroupName:
		return c.groupNames.inForce(p.name).isHeld(p.group)
	case KindFileName:
		holder, _, held := c.fileNameHolder(p.group, p.name)
		return held && holder != p.user
	default:
		return false
	}
}

// ClaimName returns the part of a claim that two claimants of one name share.
func ClaimName(k Key) string {
	if i := strings.LastIndexByte(string(k), '/'); i >= 0 {
		return string(k)[:i]
	}
	return string(k)
}

// fileNameHolder returns who holds the name of a file in a group, and for which file.
func (c *Catalog) fileNameHolder(gid protocol.GroupID, canonical string) (protocol.UserID, ranked[protocol.FileID], bool) {
	g := c.groups[gid]
	if g == nil || g.files.names[canonical] == nil {
		return protocol.UserID{}, ranked[protocol.FileID]{}, false
	}
	in := g.files.names[canonical].inForce
	if len(in) == 0 {
		return protocol.UserID{}, ranked[protocol.FileID]{}, false
	}
	return in[0].holder, in[0], true
}
