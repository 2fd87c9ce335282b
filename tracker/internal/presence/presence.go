// Package presence is the table of who is online and offers what: leases of
// this tracker's own clients, and those that other trackers told of. It is
// soft state, never on disk. The service writes it, the replica carries it
// between trackers; it opens no stream and reads no clock but the one it is given.
package presence

import (
	"crypto/rand"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// FileRef is a file in a group.
type FileRef struct {
	Group protocol.GroupID
	File  protocol.FileID
}

// Offer is a file that a client has, whole or in part.
type Offer struct {
	FileRef
	Complete bool
}

// Lease is one client online.
type Lease struct {
	Peer    string // libp2p peer ID, text form
	User    protocol.UserID
	Session protocol.SessionID
	Addrs   []string
	Offers  []Offer
}

// Seeder is a client that offers a file.
type Seeder struct {
	Peer     string
	User     protocol.UserID
	Addrs    []string // shared, not to be modified
	Complete bool
}

// Change tells that a client began, changed or ceased to offer a file.
type Change struct {
	FileRef
	Seeder Seeder
	Gone   bool
}

// DefaultLife is long enough for a client to fail over to another tracker
// before it is thought to be gone.
const DefaultLife = 5 * time.Second

// maxOffers bounds the offers of one lease: all shares of a user, and as many
// downloads again. What is offered beyond it is left out.
const maxOffers = 2 * protocol.MaxSharesPerUser

// mostOffers bounds the offers of all own leases, so that the others take them:
// their bound counts what a delta tells once more, too. What is offered beyond it
// is left out.
const mostOffers = protocol.MaxOffers - 10*protocol.MaxElements

// Config is what a Table needs.
type Config struct {
	Now func() time.Time
	// Life is how long leases outlive their tracker's last word or their
	// client's stream; default DefaultLife.
	Life time.Duration
	// OnChange is told of every change of an offer, of own clients and others',
	// in order, one call at a time. It is called without a lock held, by
	// whichever goroutine uses the table, and must not block.
	OnChange func([]Change)
	// OnDelta gets changes of this tracker's own leases, to be spread; called
	// as OnChange is.
	OnDelta func(*pb.PresenceDelta)
}

// Table is safe for concurrent use. It implements replica.Presence.
//
// A client may have leases at several trackers while it moves from one to
// another. The one that was opened last, as far as anybody here knows, is the
// one that counts: see latest.
type Table struct {
	cfg Config

	mu     sync.Mutex
	own    *source
	recent recent             // deltas of own
	others map[string]*source // by tracker
	peers  map[string][]*lease
	offers map[FileRef]*offered
	opened uint64 // openings heard of, to order them
	seen   *simplelru.LRU[protocol.SessionID, time.Time]

	outbox   []notice
	emitting bool // somebody is calling back what is in the outbox
}

// source is a tracker with the leases that it has told of. Epoch zero: nothing
// is known of it.
type source struct {
	epoch, version uint64
	leases         map[string]*lease
	offers         int       // of all leases
	due            time.Time // when all of them end; zero: not due
	// doubts is leases of another tracker that ended here, in whole or in part,
	// before that tracker has told so.
	doubts map[string]*doubt
	// unsure is set when that time is over: the whole list is wanted.
	unsure bool
}

// doubt is what of a lease its tracker has not told the end of, and until when it
// has time for it.
type doubt struct {
	until time.Time
	files map[FileRef]struct{} // offers that ended here; nil: all of the lease
}

// doubt notes that offers of a lease ended here, for facts that its tracker may
// not have; nil: all of the lease.
func (s *source) doubt(peer string, files []FileRef, until time.Time) {
	d := s.doubts[peer]
	switch {
	case d == nil:
		if s.doubts == nil {
			s.doubts = make(map[string]*doubt)
		}
		d = &doubt{until: until, files: make(map[FileRef]struct{}, len(files))}
		s.doubts[peer] = d
	case d.files == nil:
		return
	}
	if files == nil {
		d.files = nil
	}
	for _, f := range files {
		d.files[f] = struct{}{}
	}
}

// told ends the doubts about some offers of a lease, of which its tracker has
// told. One about all of the lease stays.
func (s *source) told(peer string, files []FileRef) {
	d := s.doubts[peer]
	if d == nil || d.files == nil {
		return
	}
	for _, f := range files {
		delete(d.files, f)
	}
	if len(d.files) == 0 {
		delete(s.doubts, peer)
	}
}

// offered is who offers a file.
type offered struct {
	complete, partial map[*lease]struct{}
	// users counts, for each user, the leases that count and have the whole file.
	users map[protocol.UserID]int
}

// lease is a Lease as one tracker told of it. Its slices are never modified but
// replaced, the offers in order.
type lease struct {
	Lease
	by      *source
	opening uint64    // the version of by's table that opened it
	order   uint64    // of the opening, among all that were heard of
	due     time.Time // when it ends, if it is an own one whose stream has ended
	// unsure is the offers of an own lease that were taken over and that the
	// client has not repeated; they end at sureBy.
	unsure map[FileRef]struct{}
	sureBy time.Time
}

// New returns an empty table with a fresh epoch.
func New(cfg Config) *Table {
	if cfg.Life <= 0 {
		cfg.Life = DefaultLife
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	seen, _ := simplelru.NewLRU[protocol.SessionID, time.Time](maxSeen, nil) // fails for no positive size
	return &Table{
		cfg: cfg, seen: seen,
		own:    &source{epoch: newEpoch(), leases: make(map[string]*lease)},
		others: make(map[string]*source),
		peers:  make(map[string][]*lease),
		offers: make(map[FileRef]*offered),
	}
}

// newEpoch returns a random number but zero, which stands for nothing known.
func newEpoch() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return binary.BigEndian.Uint64(b[:]) | 1
}

// Open begins or takes over the lease of a client of this tracker. The offers
// that the same user had, here or at another tracker, stay for Life, so that
// nobody is told of a client that moves; by then it has to announce them. The
// token names this opening.
func (t *Table) Open(l Lease) (token uint64) {
	sureBy := t.cfg.Now().Add(t.cfg.Life)
	e := t.edit()
	defer e.done()
	l.Addrs = slices.Clone(l.Addrs)
	most := t.room(t.own.leases[l.Peer])
	given := replaceOffers(nil, l.Offers, nil, most)
	l.Offers = given
	before := t.latest(l.Peer)
	if before != nil && before.User == l.User && len(before.Offers) <= most {
		l.Offers = replaceOffers(before.Offers, given, nil, most)
	}
	token = t.own.version + 1
	e.set(t.own, l, token, nil)
	now := t.own.leases[l.Peer]
	now.unsure, now.sureBy = make(map[FileRef]struct{}), sureBy
	for _, o := range l.Offers {
		if _, ok := offerOf(given, o.FileRef); !ok {
			now.unsure[o.FileRef] = struct{}{}
		}
	}
	return token
}

// Announce changes what a client of this tracker offers; addrs empty: as
// before. False if it has no lease here.
func (t *Table) Announce(peer string, offer []Offer, withdraw []FileRef, addrs []string) bool {
	e := t.edit()
	defer e.done()
	known := t.own.leases[peer]
	if known == nil {
		return false
	}
	for _, o := range offer {
		delete(known.unsure, o.FileRef)
	}
	l := known.Lease
	l.Offers = replaceOffers(l.Offers, offer, withdraw, t.room(known))
	if len(addrs) > 0 {
		l.Addrs = slices.Clone(addrs)
	}
	changed := refs(offer, withdraw)
	if !slices.Equal(among(l.Offers, changed), among(known.Offers, changed)) || !slices.Equal(l.Addrs, known.Addrs) {
		e.set(t.own, l, known.opening, changed)
	}
	return true
}

// room is how many offers an own lease may have, nil: a new one.
func (t *Table) room(l *lease) int {
	rest := mostOffers - t.own.offers
	if l != nil {
		rest += len(l.Offers)
	}
	return min(rest, maxOffers)
}

// Close tells that the stream of an opening has ended: the lease ends after
// Life, unless opened again.
func (t *Table) Close(peer string, token uint64) {
	due := t.cfg.Now().Add(t.cfg.Life)
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.own.leases[peer]; l != nil && l.opening == token {
		l.due = due
	}
}

// DropWhere ends leases and offers at once, those of other trackers' clients
// too. Where such a tracker does not do the same within Life, its list counts. A
// lease that matches with the zero Offer ends, and else those of its offers that
// match. match is called without a lock held and must not modify l.
func (t *Table) DropWhere(match func(l Lease, o Offer) bool) {
	type victim struct {
		*lease
		was   Lease
		whole bool
		part  []FileRef
	}
	var victims []victim
	t.mu.Lock()
	all := make([]victim, 0, len(t.peers))
	for _, list := range t.peers {
		for _, l := range list {
			all = append(all, victim{lease: l, was: l.Lease})
		}
	}
	t.mu.Unlock()
	for _, v := range all {
		if match(v.was, Offer{}) {
			v.whole = true
		} else {
			for _, o := range v.was.Offers {
				if match(v.was, o) {
					v.part = append(v.part, o.FileRef)
				}
			}
		}
		if v.whole || len(v.part) > 0 {
			victims = append(victims, v)
		}
	}
	if len(victims) == 0 {
		return
	}
	until := t.cfg.Now().Add(t.cfg.Life)
	e := t.edit()
	defer e.done()
	for _, v := range victims {
		if v.by.leases[v.Peer] != v.lease || v.Session != v.was.Session {
			continue // another lease by now
		}
		if v.by != t.own {
			v.by.doubt(v.Peer, v.part, until) // nil if it ends as a whole
		}
		if v.whole {
			e.remove(v.lease)
			continue
		}
		l := v.Lease
		l.Offers = replaceOffers(l.Offers, nil, v.part, maxOffers)
		e.set(v.by, l, v.opening, v.part)
	}
}

// TrackerGone tells that another tracker is not connected any more: its leases
// end after Life, unless it is heard again.
func (t *Table) TrackerGone(id string) {
	due := t.cfg.Now().Add(t.cfg.Life)
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.others[id]; s != nil && s.due.IsZero() {
		s.due = due
	}
}

// Sweep ends what is due. The owner calls it about once a second.
func (t *Table) Sweep() {
	now := t.cfg.Now()
	isDue := func(at time.Time) bool { return !at.IsZero() && !at.After(now) }
	e := t.edit()
	defer e.done()
	for _, l := range t.own.leases {
		switch {
		case isDue(l.due):
			e.remove(l)
		case len(l.unsure) > 0 && isDue(l.sureBy):
			next := l.Lease
			changed := slices.Collect(maps.Keys(l.unsure))
			next.Offers = replaceOffers(next.Offers, nil, changed, maxOffers)
			l.unsure = nil
			e.set(t.own, next, l.opening, changed)
		}
	}
	for id, s := range t.others {
		if isDue(s.due) {
			for _, l := range s.leases {
				e.remove(l)
			}
			delete(t.others, id)
			continue
		}
		for peer, d := range s.doubts {
			if isDue(d.until) {
				delete(s.doubts, peer)
				s.unsure = true
			}
		}
	}
}
