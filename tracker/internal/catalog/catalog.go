// Package catalog is what a network knows: users, groups, memberships, files
// and shares as a function of a set of facts. It is pure: no clock, network,
// disk, lock or goroutine; time comes as stamps. The replica owns the one
// instance of a tracker. How facts merge is told in DESIGN.md beside it.
package catalog

import (
	"bytes"
	"fmt"

	"github.com/p2pshare/p2pshare/protocol"
)

// Key names a fact: segments joined by "/".
type Key string

// Fact is one entry. Its Value is in the canonical form of its kind and never
// changed after it was handed over.
type Fact struct {
	Key   Key
	Value []byte
	Stamp protocol.Stamp
}

// Draft is a fact without a stamp: what a change wants to write.
type Draft struct {
	Key   Key
	Value []byte
}

// Catalog holds facts, the digests over them and the indexes that views read.
// Merge and Expire change it and need it alone; everything else only reads, so
// that any number of readers may share it between changes.
type Catalog struct {
	facts   map[Key]*entry
	tree    node
	origins map[string]string // one copy of each tracker's name in stamps

	expiry  expiries
	horizon int64 // the latest time that Expire was told, Unix milliseconds
	ended   int64 // the latest time at which something has ended for horizon

	users     map[protocol.UserID]*userState
	userNames registry[protocol.UserID]
	revoked   map[protocol.SessionID]struct{}
	accounts  int // users with an account fact

	groups     map[protocol.GroupID]*groupState
	groupNames registry[protocol.GroupID]
	groupOrder ordered // canonical names under which a group is shown
	alive      int     // groups with members

	blobs      map[protocol.FileID]int // file facts that name each manifest
	filesShown int
}

// entry is a fact in its place.
type entry struct {
	fact    Fact
	sum     sum128 // of the fact, for the digests
	place   uint32 // the nibbles of its place in the tree, see placeOf
	slot    int32  // where in its bucket it is
	expired bool   // held, but in no digest
}

// New returns an empty catalog.
func New() *Catalog {
	return &Catalog{
		facts:      make(map[Key]*entry),
		origins:    make(map[string]string),
		users:      make(map[protocol.UserID]*userState),
		userNames:  newRegistry[protocol.UserID](),
		revoked:    make(map[protocol.SessionID]struct{}),
		groups:     make(map[protocol.GroupID]*groupState),
		groupNames: newRegistry[protocol.GroupID](),
		blobs:      make(map[protocol.FileID]int),
	}
}

// Merge joins one fact in by the rule of its kind. changed tells whether the
// catalog holds something else now. A malformed key or value, or one over
// protocol.MaxFactValue, is an error and changes nothing.
func (c *Catalog) Merge(f Fact) (changed bool, err error) {
	e := c.facts[f.Key]
	if e != nil && e.fact.Stamp == f.Stamp && bytes.Equal(e.fact.Value, f.Value) {
		return false, nil
	}
	p, v, err := parse(f)
	if err != nil {
		return false, err
	}
	expired := c.isExpired(v)
	if expired {
		c.noteEnd(v)
	}
	switch {
	case e == nil && expired:
		return false, nil // whoever still has it drops it soon
	case e != nil && !beats(p.kind, v, f, e.fact):
		return false, nil
	case e == nil:
		e = &entry{place: placeOf(p, f.Key)}
		c.facts[f.Key] = e
	case !e.expired:
		c.tree.remove(e)
	}
	f.Stamp.Origin = c.origin(f.Stamp.Origin)
	old := e.fact
	e.fact, e.sum, e.expired = f, sumOf(f), expired
	if !expired {
		c.tree.insert(e)
	}
	if old.Key == "" || untilOf(valueOf(p.kind, old)) != untilOf(v) {
		c.schedule(f.Key, v) // else it is scheduled: a session may be written again and again
	}
	c.index(p, v, f.Stamp, old)
	return true, nil
}

// Check is Merge's validation alone.
func Check(f Fact) error {
	_, _, err := parse(f)
	return err
}

// Get returns the fact of a key.
func (c *Catalog) Get(k Key) (Fact, bool) {
	e := c.facts[k]
	if e == nil {
		return Fact{}, false
	}
	return e.fact, true
}

// Len returns the number of facts.
func (c *Catalog) Len() int { return len(c.facts) }

// Counts is for status lines.
type Counts struct{ Users, Groups, Files, Facts int }

// Counts returns how much there is.
func (c *Catalog) Counts() Counts {
	return Counts{Users: c.accounts, Groups: c.alive, Files: c.filesShown, Facts: len(c.facts)}
}

// parse takes a fact apart and checks all that can be checked of one alone.
func parse(f Fact) (parts, value, error) {
	p, err := parseKey(f.Key)
	if err != nil {
		return p, nil, err
	}
	if len(f.Value) > protocol.MaxFactValue {
		return p, nil, malformed(f.Key, "its value is too long")
	}
	if f.Stamp.Wall <= 0 || !isPeer(f.Stamp.Origin) {
		return p, nil, malformed(f.Key, "its stamp is not one of a tracker")
	}
	if p.kind == KindRemoved && p.peer != f.Stamp.Origin {
		return p, nil, malformed(f.Key, "another tracker has stamped it")
	}
	v, ok := decodeValue(p.kind, f.Value)
	if !ok {
		return p, nil, malformed(f.Key, "its value is not one of its kind")
	}
	return p, v, nil
}

func malformed(k Key, why string) error {
	return fmt.Errorf("fact %s: %s", protocol.Quote(string(k)), why)
}

func (c *Catalog) origin(s string) string {
	if known, ok := c.origins[s]; ok {
		return known
	}
	c.origins[s] = s
	return s
}

// index brings a merged fact to the state that views read. old is the fact of
// the same key that it replaces, the zero Fact if there was none.
func (c *Catalog) index(p parts, v value, s protocol.Stamp, old Fact) {
	switch v := v.(type) {
	case accountValue:
		c.setAccount(p.user, v, s)
	case verifierValue:
		c.user(p.user).verifier = &Verifier{Resets: v.resets, Changes: v.changes, PHC: v.phc, Stamp: s, Set: v.setAt(s)}
	case disabledValue:
		c.user(p.user).disabled = v.off
	case sessionValue:
		c.setSession(p, v, s)
	case revokedValue:
		c.revoked[p.session] = struct{}{}
	case userNameValue:
		c.refreshUserName(p.name, p.user)
	case groupNameValue:
		c.refreshGroupName(p.name, p.group)
	case groupValue:
		c.setGroup(p.group, v, s)
	case requestValue:
		c.membership(p.group, p.user).setRequest(v.state, s)
	case removedValue:
		m := c.membership(p.group, p.user)
		m.removals = withRemoval(m.removals, s)
		c.refreshMember(m)
	case grantValue:
		m := c.membership(p.group, p.user)
		m.granted, m.grantSeen = s, v.seen
		c.refreshMember(m)
	case ownerValue:
		g := c.group(p.group)
		g.written, g.writtenSeen = v.user, v.seen
		g.refreshOwner()
	case fileValue:
		c.setFile(p, v, old)
	case shareValue:
		c.setShare(p, v)
	case claimValue:
		c.setClaim(p, v, s)
	}
}
