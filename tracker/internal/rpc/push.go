package rpc

import (
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
)

// memory bounds what the pusher remembers of groups and of files.
const memory = 20_000

// factsAtOnce is how many facts are looked at under one hold of the catalog's
// lock: a catch-up brings thousands, and who writes waits as long.
const factsAtOnce = 64

// pusher turns facts and offers into events. Facts come in any order and more
// than once, so it asks the catalog what is true now and tells that. Its run
// goroutine is its only user, but for know and forget.
type pusher struct {
	h *hub
	// waiting is files whose name was claimed before the file or a share was there.
	waiting *simplelru.LRU[presence.FileRef, struct{}]
	// suffixed is the names of files last told to be shown with digits.
	suffixed *simplelru.LRU[presence.FileRef, string]

	groups *groupMemory
}

// groupMemory is what clients were last told of the groups they are in.
type groupMemory struct {
	mu    sync.Mutex
	known *simplelru.LRU[protocol.GroupID, catalog.Group]
}

func newPusher(h *hub) pusher {
	// None of these fails: the size is positive.
	waiting, _ := simplelru.NewLRU[presence.FileRef, struct{}](memory, nil)
	suffixed, _ := simplelru.NewLRU[presence.FileRef, string](memory, nil)
	known, _ := simplelru.NewLRU[protocol.GroupID, catalog.Group](memory, nil)
	return pusher{h: h, waiting: waiting, suffixed: suffixed, groups: &groupMemory{known: known}}
}

// know remembers what a client is being told of a group that nobody was told
// of before, and reports whether that is so. News of one that is known may still
// be waiting for others.
func (p *pusher) know(g catalog.Group) (fresh bool) {
	p.groups.mu.Lock()
	defer p.groups.mu.Unlock()
	if p.groups.known.Contains(g.ID) {
		return false
	}
	p.groups.known.Add(g.ID, g)
	return true
}

// forget takes back know, of groups that no client was told of after all.
func (p *pusher) forget(groups []protocol.GroupID) {
	p.groups.mu.Lock()
	defer p.groups.mu.Unlock()
	for _, id := range groups {
		p.groups.known.Remove(id)
	}
}

// swap remembers g and returns what was known before.
func (m *groupMemory) swap(g catalog.Group) (before catalog.Group, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, ok = m.known.Get(g.ID)
	m.known.Add(g.ID, g)
	return before, ok
}

func (m *groupMemory) get(id protocol.GroupID) (catalog.Group, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known.Get(id)
}

// batch is what one piece of news comes to. It is collected under the
// catalog's lock and carried out behind it.
type batch struct {
	*pusher
	c     *catalog.Catalog
	sends []func()
	drops drops
}

// drops is which leases and offers end with a batch. Each lease and each offer is
// looked up in it once, however many facts the batch has.
type drops struct {
	sessions map[protocol.SessionID]bool
	users    map[protocol.UserID]bool
	members  map[member]bool
	shares   map[share]bool
}

type (
	member struct {
		group protocol.GroupID
		user  protocol.UserID
	}
	share struct {
		file presence.FileRef
		peer string
		user protocol.UserID
	}
)

func newDrops() drops {
	return drops{
		sessions: make(map[protocol.SessionID]bool), users: make(map[protocol.UserID]bool),
		members: make(map[member]bool), shares: make(map[share]bool),
	}
}

func (d drops) empty() bool {
	return len(d.sessions)+len(d.users)+len(d.members)+len(d.shares) == 0
}

// match is for DropWhere: with the zero offer it is about the whole lease.
func (d drops) match(l presence.Lease, o presence.Offer) bool {
	return d.sessions[l.Session] || d.users[l.User] || d.members[member{o.Group, l.User}] ||
		o.Complete && d.shares[share{o.FileRef, l.Peer, l.User}]
}

// look tells the clients what follows from n.
func (p *pusher) look(n news) {
	b := &batch{pusher: p, drops: newDrops()}
	if n.roster {
		e := &pb.Event{Body: &pb.Event_Roster{Roster: &pb.Roster{Trackers: p.h.s.trackers()}}}
		for _, a := range p.h.all() {
			a.send(e)
		}
	}
	for facts := range slices.Chunk(n.facts, factsAtOnce) {
		p.h.s.replica.View(func(c *catalog.Catalog) {
			b.c = c
			for _, f := range facts {
				if m, err := catalog.Parse(f); err == nil {
					b.fact(m, f.Stamp)
				}
			}
		})
	}
	if len(n.offers) > 0 {
		p.offers(n.offers)
	}
	if !b.drops.empty() {
		p.h.s.cfg.Presence.DropWhere(b.drops.match)
	}
	for _, send := range b.sends {
		send()
	}
}

func (b *batch) fact(m catalog.Meaning, stamp protocol.Stamp) {
	switch m.Kind {
	case catalog.KindRevoked:
		b.revoked(m, stamp)
	case catalog.KindDisabled:
		b.disabled(m)
	case catalog.KindVerifier:
		b.verifier(m)
	case catalog.KindUser, catalog.KindUserName:
		b.userName(m.Name)
	case catalog.KindGroupName:
		b.groupName(m.Name)
	case catalog.KindGroup:
		if canonical, err := protocol.CanonicalGroup(m.Name); err == nil {
			b.groupName(canonical)
		}
	case catalog.KindRequest:
		b.request(m, stamp)
	case catalog.KindGrant, catalog.KindRemoved:
		b.membership(m, stamp)
	case catalog.KindOwner:
		b.owner(m.Group, stamp)
	case catalog.KindFileName:
		b.fileClaimed(m)
	case catalog.KindFile, catalog.KindShare:
		b.fileShared(m)
	case catalog.KindSession:
	}
}

// to sends an event to clients, once the lock is released.
func (b *batch) to(clients []*attached, e *pb.Event) {
	for _, a := range clients {
		b.sends = append(b.sends, func() { a.send(e) })
	}
}

// members returns the clients of a group's members.
func (b *batch) members(g protocol.GroupID) []*attached {
	var out []*attached
	if group, ok := b.c.Group(g); ok && group.Members < b.h.online() {
		for _, m := range b.c.Members(g) {
			out = append(out, b.h.clientsOf(m.User)...)
		}
		return out
	}
	for _, u := range b.h.users() {
		if b.c.IsMember(g, u) {
			out = append(out, b.h.clientsOf(u)...)
		}
	}
	return out
}

// revoked tells everybody who may serve the session's user, and ends what it holds.
func (b *batch) revoked(m catalog.Meaning, stamp protocol.Stamp) {
	b.h.rememberRevoked(m, b.h.learned(stamp))
	b.drops.sessions[m.Session] = true
	e := sessionRevoked(m.Session, m.User)
	told := make(map[*attached]bool)
	for _, g := range b.c.GroupsOf(m.User) {
		for _, a := range b.members(g.ID) {
			told[a] = true
		}
	}
	for _, a := range b.h.clientsOf(m.User) {
		told[a] = true
	}
	for a := range told {
		b.to([]*attached{a}, e)
		if a.user == m.User && b.h.sessionOf(a) == m.Session {
			b.sends = append(b.sends, func() { a.end(notLoggedIn()) })
		}
	}
}

func sessionRevoked(id protocol.SessionID, u protocol.UserID) *pb.Event {
	return &pb.Event{Body: &pb.Event_SessionRevoked{SessionRevoked: &pb.SessionRevoked{SessionId: id[:], UserId: u[:]}}}
}

func (h *hub) sessionOf(a *attached) protocol.SessionID {
	h.mu.Lock()
	defer h.mu.Unlock()
	return a.session.ID
}

func (b *batch) disabled(m catalog.Meaning) {
	if u, ok := b.c.User(m.User); !ok || !u.Disabled {
		return
	}
	b.drops.users[m.User] = true
	for _, a := range b.h.clientsOf(m.User) {
		b.sends = append(b.sends, func() { a.end(notLoggedIn()) })
	}
}

func (b *batch) verifier(m catalog.Meaning) {
	due := b.h.s.cfg.Now().Add(settle)
	clients := b.h.clientsOf(m.User)
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	for _, a := range clients {
		a.recheck = due
	}
}

// some returns those who are told of one more peer that has parts of a file, or
// of one more seeder of very many: as many as a client would be named peers when
// it asks. Where hundreds fetch one file, each told of each would cost more
// than all else, and nobody has a use for that many.
func some(peers []string) []string {
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	return peers[:min(len(peers), protocol.MaxSeeders)]
}

// offers tells those who are fetching a file about others who have it or parts of it.
func (p *pusher) offers(changes []presence.Change) {
	type told struct {
		a *attached
		e *pb.Event
	}
	var out []told
	table := p.h.s.cfg.Presence
	for _, ch := range changes {
		peers := table.OfferedIncomplete(ch.FileRef)
		if len(peers) == 0 {
			continue
		}
		if !ch.Gone && (!ch.Seeder.Complete || table.Complete(ch.FileRef) > protocol.MaxSeeders) {
			peers = some(peers)
		}
		p.h.s.replica.View(func(c *catalog.Catalog) {
			if !ch.Gone && !c.IsMember(ch.Group, ch.Seeder.User) {
				return
			}
			for _, id := range peers {
				a := p.h.client(id)
				if a == nil || id == ch.Seeder.Peer || !c.IsMember(ch.Group, a.user) {
					continue
				}
				seeder := &pb.Seeder{PeerId: ch.Seeder.Peer} // of one who is gone: perhaps no member any more
				if !ch.Gone {
					seeder = seederPB(c, ch.Seeder, a.remote)
				}
				out = append(out, told{a, &pb.Event{Body: &pb.Event_Seeder{Seeder: &pb.SeederChange{
					GroupId: ch.Group[:], FileId: ch.File[:], Seeder: seeder, Gone: ch.Gone,
				}}}})
			}
		})
	}
	for _, t := range out {
		t.a.send(t.e)
	}
}
