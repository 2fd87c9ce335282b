package catalog

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/p2pshare/p2pshare/protocol"
)

// User is an account as it stands.
type User struct {
	ID        protocol.UserID
	Name      string // as shown: the canonical name, with a suffix where an earlier claimant has it
	Canonical string
	Created   protocol.Stamp
	Disabled  bool
}

// Verifier is what a password is checked against.
type Verifier struct {
	Resets, Changes uint32
	PHC             string
	Stamp           protocol.Stamp
	// Set is when the password was set: earlier than Stamp after a new hash of
	// the same one. Sessions name it.
	Set protocol.Stamp
}

// Session is a login that was made.
type Session struct {
	ID     protocol.SessionID
	Device string
	Since  int64  // Unix milliseconds
	Until  int64  // renewable until, Unix milliseconds
	Client string // peer ID
	// Confirmed is when the record was written last, at the login or at a
	// renewal since, Unix milliseconds.
	Confirmed int64
}

// sessionState is a session and the wall time of its fact.
type sessionState struct {
	sessionValue
	written int64
}

// userState is what is known of a user, in whatever order it came.
type userState struct {
	canonical string // "" as long as there is no account fact
	created   protocol.Stamp
	disabled  bool
	verifier  *Verifier
	sessions  map[protocol.SessionID]sessionState
	groups    map[protocol.GroupID]*membership // every group that a fact brings the user together with
	manifests int64                            // bytes of manifests of the files first shared by the user
}

func (c *Catalog) user(id protocol.UserID) *userState {
	u := c.users[id]
	if u == nil {
		u = &userState{}
		c.users[id] = u
	}
	return u
}

func (c *Catalog) setAccount(id protocol.UserID, v accountValue, s protocol.Stamp) {
	u := c.user(id)
	before := u.canonical
	if before == "" {
		c.accounts++
	}
	u.canonical, u.created = v.name, s
	c.refreshUserName(before, id)
	c.refreshUserName(v.name, id)
}

// refreshUserName notices that a claim on the name of a user is in force, or not
// any more: one of an account of that name is.
func (c *Catalog) refreshUserName(name string, id protocol.UserID) {
	u := c.users[id]
	claim, claimed := c.Get(userNameKey(name, id))
	c.userNames.set(name, id, claim.Stamp, claimed && u != nil && u.canonical == name)
}

// Claimants returns the accounts that have a canonical name in common, the
// earliest first: that one is shown without digits.
func (c *Catalog) Claimants(canonical string) []User {
	var out []User
	for _, r := range c.userNames.inForce(canonical) {
		if u, ok := c.User(r.id); ok {
			out = append(out, u)
		}
	}
	return out
}

func (c *Catalog) setSession(p parts, v sessionValue, s protocol.Stamp) {
	u := c.user(p.user)
	if u.sessions == nil {
		u.sessions = make(map[protocol.SessionID]sessionState)
	}
	u.sessions[p.session] = sessionState{v, s.Wall}
}

// User returns the account of an id.
func (c *Catalog) User(id protocol.UserID) (User, bool) {
	u := c.users[id]
	if u == nil || u.canonical == "" {
		return User{}, false
	}
	return User{
		ID:        id,
		Name:      u.canonical + c.userNames.suffixOf(u.canonical, id),
		Canonical: u.canonical,
		Created:   u.created,
		Disabled:  u.disabled,
	}, true
}

// UserNamed returns the account that is shown as name now. A bare name never
// means anybody but its earliest claimant.
func (c *Catalog) UserNamed(name string) (User, bool) {
	base, digits := splitShown(name)
	canonical, err := protocol.CanonicalUser(base)
	if err != nil {
		return User{}, false
	}
	in := c.userNames.inForce(canonical)
	i, ok := in.shown(digits)
	if !ok {
		return User{}, false
	}
	return c.User(in[i].id)
}

// Verifier returns the password verifier of a user.
func (c *Catalog) Verifier(id protocol.UserID) (Verifier, bool) {
	u := c.users[id]
	if u == nil || u.verifier == nil {
		return Verifier{}, false
	}
	return *u.verifier, true
}

// Sessions returns the sessions of a user that are neither revoked nor
// expired, oldest first.
func (c *Catalog) Sessions(id protocol.UserID) []Session {
	u := c.users[id]
	if u == nil {
		return nil
	}
	var out []Session
	for sid, v := range u.sessions {
		if !c.Revoked(sid) && !c.isExpired(v.sessionValue) {
			out = append(out, v.session(sid))
		}
	}
	slices.SortFunc(out, func(a, b Session) int {
		return cmp.Or(cmp.Compare(a.Since, b.Since), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return out
}

// Session returns one session of a user, also one that has ended, as long as
// its record is kept.
func (c *Catalog) Session(id protocol.UserID, sid protocol.SessionID) (Session, bool) {
	u := c.users[id]
	if u == nil {
		return Session{}, false
	}
	v, ok := u.sessions[sid]
	return v.session(sid), ok
}

// HasClient reports whether the user has logged in from the client of a peer
// ID, in the time for which records of sessions are kept.
func (c *Catalog) HasClient(id protocol.UserID, peerID string) bool {
	u := c.users[id]
	if u == nil || peerID == "" {
		return false
	}
	for _, v := range u.sessions {
		if v.client == peerID {
			return true
		}
	}
	return false
}

func (v sessionState) session(id protocol.SessionID) Session {
	return Session{ID: id, Device: v.device, Since: v.since, Until: v.until, Client: v.client, Confirmed: v.written}
}

// Revoked reports whether a session was ended.
func (c *Catalog) Revoked(id protocol.SessionID) bool {
	_, ok := c.revoked[id]
	return ok
}
