// Package gate decides which peer gets pieces of which group: it checks
// tickets against what this seeder knows of members and revocations. The node
// feeds it what trackers push and asks it for the piece server. It opens no
// stream, reads no clock, and never learns whether a file exists.
package gate

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
)

// What a tracker may make the gate remember. Groups and members are twice what
// the protocol allows, since either side of a cut may fill a group. The
// revocations are those of some hours, from groups of the user alone.
const (
	maxGroups  = 2 * protocol.MaxGroupsJoined
	maxMembers = 2 * protocol.MaxMembersPerGroup
	maxRevoked = 20_000
	// revokedFor is how long a ticket of a revoked session could be accepted.
	revokedFor = protocol.TicketMaxLife + protocol.TicketGrace + protocol.CredentialSkew
)

// Grant is what a ticket proved.
type Grant struct {
	Group   protocol.GroupID
	User    protocol.UserID
	Session protocol.SessionID
	Peer    peer.ID
	Issued  protocol.Stamp
	// TicketEnd is when the ticket itself ends. Expires, when its stream must
	// close, is the same or, while no tracker is reachable, later.
	TicketEnd, Expires time.Time
}

// Gate is safe for concurrent use. A new one is shut.
type Gate struct {
	trusted func(peer.ID) bool
	grace   time.Duration

	mu      sync.Mutex
	open    bool
	network protocol.NetworkID
	groups  map[protocol.GroupID]*group
	revoked revocations
	lost    time.Time     // when the last tracker went; zero while one is there
	changed chan struct{} // closed and replaced at every change
}

// group is what is known of one group of the user's.
type group struct {
	asOf    protocol.Stamp
	members map[protocol.UserID]bool // false: known to be removed
}

// revocations remembers sessions for revokedFor at least and twice that at
// most; the oldest ones for less, when there come very many.
type revocations struct {
	began         time.Time // of recent
	recent, older map[protocol.SessionID]bool
}

func (r *revocations) add(s protocol.SessionID, now time.Time) {
	if r.recent == nil || now.Sub(r.began) > revokedFor || len(r.recent) >= maxRevoked/2 {
		r.began, r.older, r.recent = now, r.recent, map[protocol.SessionID]bool{}
	}
	r.recent[s] = true
}

func (r *revocations) has(s protocol.SessionID) bool { return r.recent[s] || r.older[s] }

// New returns a gate that believes tickets signed by trusted peers. trusted
// must be safe for concurrent use. grace is how long tickets that were valid
// when the last tracker went count while none is back, protocol.TicketGrace at
// most; with zero every ticket ends at its own time, and nobody is admitted of
// whom the trackers have not told.
func New(trusted func(peer.ID) bool, grace time.Duration) *Gate {
	g := &Gate{trusted: trusted, grace: min(grace, protocol.TicketGrace), changed: make(chan struct{})}
	g.reset()
	return g
}

// Open lets the gate serve the groups that SetMembers names from now on.
func (g *Gate) Open(network protocol.NetworkID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reset()
	g.open, g.network = true, network
	g.notify()
}

// Shut refuses everybody and forgets all groups: logout.
func (g *Gate) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reset()
	g.notify()
}

func (g *Gate) reset() {
	g.open = false
	g.groups = map[protocol.GroupID]*group{}
	g.revoked = revocations{}
	g.lost = time.Time{}
}

// SetMembers replaces what is known of a group by a tracker's list. Groups and
// members above what a network can have are left out: nobody of them is served.
func (g *Gate) SetMembers(id protocol.GroupID, asOf protocol.Stamp, members []protocol.UserID) {
	members = members[:min(len(members), maxMembers)]
	known := make(map[protocol.UserID]bool, len(members))
	for _, u := range members {
		known[u] = true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.groups[id] == nil && len(g.groups) >= maxGroups {
		return
	}
	g.groups[id] = &group{asOf: asOf, members: known}
	g.notify()
}

// Synced ends the lists of a new connection to a tracker: groups not among
// them are none of the user's any more. The time of grace is over.
func (g *Gate) Synced(groups []protocol.GroupID, revoked []protocol.SessionID, now time.Time) {
	keep := make(map[protocol.GroupID]bool, len(groups))
	for _, id := range groups {
		keep[id] = true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for id := range g.groups {
		if !keep[id] {
			delete(g.groups, id)
		}
	}
	for _, s := range revoked {
		g.revoked.add(s, now)
	}
	g.lost = time.Time{}
	g.notify()
}

// Joined tells of a new member, Left of one that left or was removed. Of a
// group that is not known nothing is kept.
func (g *Gate) Joined(id protocol.GroupID, u protocol.UserID, at protocol.Stamp) {
	g.change(id, u, at, true)
}

// Left is the opposite of Joined.
func (g *Gate) Left(id protocol.GroupID, u protocol.UserID, at protocol.Stamp) {
	g.change(id, u, at, false)
}

func (g *Gate) change(id protocol.GroupID, u protocol.UserID, at protocol.Stamp, member bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	known, ok := g.groups[id]
	if !ok {
		return
	}
	known.set(u, member)
	if at.After(known.asOf) {
		known.asOf = at
	}
	g.notify()
}

// set notes whether u is a member. In a group that is full the newcomer takes
// the place of somebody known to be gone, or is not noted.
func (k *group) set(u protocol.UserID, member bool) {
	if _, ok := k.members[u]; !ok && len(k.members) >= maxMembers {
		for other, isMember := range k.members {
			if !isMember {
				delete(k.members, other)
				break
			}
		}
		if len(k.members) >= maxMembers {
			return
		}
	}
	k.members[u] = member
}

// Forget drops a group: the user is no member any more, or serves nothing in it.
func (g *Gate) Forget(id protocol.GroupID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.groups, id)
	g.notify()
}

// Revoke refuses a session's tickets from now on.
func (g *Gate) Revoke(s protocol.SessionID, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.revoked.add(s, now)
	g.notify()
}

// Lost tells that no tracker is connected any more. Until Synced, tickets that
// were valid at that moment go on being so, for the time of grace at most.
func (g *Gate) Lost(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lost.IsZero() {
		g.lost = now
	}
}

// Admit checks a ticket that remote shows. Somebody whose ticket is newer than
// what is known of the group may be a member of whom word is on its way: then
// Admit waits for it until ctx ends. Errors: E_NOT_MEMBER, and E_SESSION only
// for a ticket that is genuine but over.
func (g *Gate) Admit(ctx context.Context, remote peer.ID, envelope []byte, now time.Time) (Grant, error) {
	g.mu.Lock()
	check := credential.Check{Network: g.network, Remote: remote, Trusted: g.trusted, Now: now}
	g.mu.Unlock()
	t, err := credential.OpenTicket(envelope, check)
	if err != nil {
		return Grant{}, refused()
	}
	grant := Grant{
		Group: t.Group, User: t.User, Session: t.Session, Peer: t.Peer,
		Issued: t.Stamp, TicketEnd: t.Expires.Add(protocol.CredentialSkew),
	}
	for {
		g.mu.Lock()
		verdict, expires := g.judge(grant, now)
		changed := g.changed
		g.mu.Unlock()
		switch verdict {
		case yes:
			grant.Expires = expires
			return grant, nil
		case over:
			return Grant{}, protocol.Errorf(protocol.CodeSession, "the ticket has expired")
		case no:
			return Grant{}, refused()
		case perhaps:
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Grant{}, refused()
		}
	}
}

// Allows reports whether the stream of a grant may go on: after anything was
// told to the gate, the node closes the streams for which it is false.
func (g *Gate) Allows(grant Grant, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	verdict, _ := g.judge(grant, now)
	return verdict == yes
}

type verdict byte

const (
	no verdict = iota
	yes
	over    // was good, has expired
	perhaps // word may be on its way
)

// judge applies the rules in the order in which they may speak: nothing about
// expiry to somebody who is not a member. mu is held.
func (g *Gate) judge(grant Grant, now time.Time) (verdict, time.Time) {
	known, ok := g.groups[grant.Group]
	if !g.open || !ok || g.revoked.has(grant.Session) {
		return no, time.Time{}
	}
	graced := g.grace > 0 && !g.lost.IsZero()
	member, heard := known.members[grant.User]
	newer := !heard && grant.Issued.After(known.asOf)
	switch {
	case member || newer && graced:
	case newer:
		return perhaps, time.Time{}
	default:
		return no, time.Time{}
	}
	expires := grant.TicketEnd
	if graced && !g.lost.After(grant.TicketEnd) {
		expires = later(expires, g.lost.Add(g.grace))
	}
	if now.After(expires) {
		return over, time.Time{}
	}
	return yes, expires
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// notify wakes those who wait in Admit. mu is held; closing never blocks.
func (g *Gate) notify() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// refused is one answer for every reason, so that a refusal tells nothing.
func refused() error {
	return protocol.Errorf(protocol.CodeNotMember, "the peer is not admitted")
}
