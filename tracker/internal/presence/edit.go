package presence

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

// edit is one change of the table, made under its lock. It remembers how
// things were, so that what has changed can be told when it is done.
type edit struct {
	t      *Table
	before map[string]Lease // of the peers touched, what counted; Peer is "" where nothing did
	// scope is which offers of those peers may be others than before; nil: all.
	scope map[string][]FileRef
	own   map[string]*own // peers whose own lease has changed, and how it was; nil: there was none
}

// own is a lease of this tracker as the others were told of it.
type own struct {
	Lease
	opening uint64
}

// edit locks the table. The caller calls done.
func (t *Table) edit() *edit {
	t.mu.Lock()
	return &edit{t: t, before: make(map[string]Lease), scope: make(map[string][]FileRef), own: make(map[string]*own)}
}

// latest returns the lease of a peer that was opened last, nil if there is none.
func (t *Table) latest(peer string) *lease {
	var last *lease
	for _, l := range t.peers[peer] {
		if last == nil || l.order > last.order {
			last = l
		}
	}
	return last
}

// touch notes how things are with a peer, of which a lease is about to change in
// some offers or, if that is nil, in any way.
func (e *edit) touch(by *source, peer string, offers []FileRef) {
	if _, ok := e.own[peer]; !ok && by == e.t.own {
		e.own[peer] = nil
		if l := by.leases[peer]; l != nil {
			e.own[peer] = &own{l.Lease, l.opening}
		}
	}
	if _, ok := e.before[peer]; ok {
		if known := e.scope[peer]; known != nil && offers != nil {
			e.scope[peer] = slices.Concat(known, offers)
		} else {
			e.scope[peer] = nil
		}
		return
	}
	e.scope[peer] = offers
	var was Lease
	if l := e.t.latest(peer); l != nil {
		was = l.Lease
	}
	e.before[peer] = was
}

// set makes l the lease of its peer at a tracker. A lease with another opening
// than before is a new one, and the latest. Of one that is not new, offers may be
// others than before among changed, which is not nil, and no more.
func (e *edit) set(by *source, l Lease, opening uint64, changed []FileRef) {
	known := by.leases[l.Peer]
	if known == nil || known.opening != opening || known.User != l.User || !slices.Equal(known.Addrs, l.Addrs) {
		changed = nil
	}
	e.touch(by, l.Peer, changed)
	if known == nil {
		known = &lease{by: by}
		by.leases[l.Peer] = known
		e.t.peers[l.Peer] = append(e.t.peers[l.Peer], known)
	}
	if known.opening != opening || known.order == 0 {
		e.t.opened++
		known.opening, known.order = opening, e.t.opened
		known.due = time.Time{}
	}
	e.t.unlist(known, among(known.Offers, changed), among(l.Offers, changed))
	by.offers += len(l.Offers) - len(known.Offers)
	known.Lease = l
	e.t.list(known, among(l.Offers, changed))
}

func (e *edit) remove(l *lease) {
	e.touch(l.by, l.Peer, nil)
	e.t.seen.Add(l.Session, e.t.cfg.Now())
	e.t.unlist(l, l.Offers, nil)
	l.by.offers -= len(l.Offers)
	delete(l.by.leases, l.Peer)
	rest := slices.DeleteFunc(e.t.peers[l.Peer], func(x *lease) bool { return x == l })
	if len(rest) == 0 {
		delete(e.t.peers, l.Peer)
	} else {
		e.t.peers[l.Peer] = rest
	}
}

// under returns who offers a file; put it back with tidy.
func (t *Table) under(f FileRef) *offered {
	o := t.offers[f]
	if o == nil {
		o = &offered{complete: map[*lease]struct{}{}, partial: map[*lease]struct{}{}, users: map[protocol.UserID]int{}}
		t.offers[f] = o
	}
	return o
}

// tidy forgets a file that nobody offers any more.
func (t *Table) tidy(f FileRef, o *offered) {
	if len(o.complete)+len(o.partial)+len(o.users) == 0 {
		delete(t.offers, f)
	}
}

func (o *offered) side(complete bool) map[*lease]struct{} {
	if complete {
		return o.complete
	}
	return o.partial
}

// list puts a lease under files that it offers.
func (t *Table) list(l *lease, offers []Offer) {
	for _, o := range offers {
		t.under(o.FileRef).side(o.Complete)[l] = struct{}{}
	}
}

// unlist takes a lease from files that it offers but will not, or not in the
// same way, any more.
func (t *Table) unlist(l *lease, offers, next []Offer) {
	for _, o := range offers {
		if after, stays := offerOf(next, o.FileRef); stays && after == o {
			continue
		}
		under := t.under(o.FileRef)
		delete(under.side(o.Complete), l)
		t.tidy(o.FileRef, under)
	}
}

// count notes that what counts for a peer was one lease and is another.
func (t *Table) count(was, is Lease) {
	add := func(u protocol.UserID, o Offer, n int) {
		if !o.Complete {
			return
		}
		under := t.under(o.FileRef)
		if under.users[u] += n; under.users[u] == 0 {
			delete(under.users, u)
		}
		t.tidy(o.FileRef, under)
	}
	for _, o := range is.Offers {
		if before, had := offerOf(was.Offers, o.FileRef); !had || before != o || was.User != is.User {
			add(is.User, o, 1)
		}
	}
	for _, o := range was.Offers {
		if after, has := offerOf(is.Offers, o.FileRef); !has || after != o || was.User != is.User {
			add(was.User, o, -1)
		}
	}
}

// done notes what has changed for those who are to be told, unlocks, and tells them.
func (e *edit) done() {
	t := e.t
	var changes []Change
	for peer, was := range e.before {
		var is Lease
		if l := t.latest(peer); l != nil {
			is = l.Lease
		}
		was.Offers, is.Offers = among(was.Offers, e.scope[peer]), among(is.Offers, e.scope[peer])
		t.count(was, is)
		changes = append(changes, diff(was, is)...)
	}
	if len(changes) > 0 && t.cfg.OnChange != nil {
		t.outbox = append(t.outbox, notice{changes: changes})
	}
	t.publish(e)
	mine := !t.emitting && len(t.outbox) > 0
	t.emitting = t.emitting || mine
	t.mu.Unlock()
	if mine {
		t.emit()
	}
}

// diff returns the changes of offers from one lease of a peer to the next.
func diff(was, is Lease) []Change {
	var out []Change
	moved := was.User != is.User || !slices.Equal(was.Addrs, is.Addrs)
	for _, o := range is.Offers {
		before, had := offerOf(was.Offers, o.FileRef)
		if moved || !had || before.Complete != o.Complete {
			out = append(out, Change{FileRef: o.FileRef, Seeder: is.seeder(o)})
		}
	}
	for _, o := range was.Offers {
		if _, has := offerOf(is.Offers, o.FileRef); !has {
			out = append(out, Change{FileRef: o.FileRef, Seeder: was.seeder(o), Gone: true})
		}
	}
	return out
}

func (l *Lease) seeder(o Offer) Seeder {
	return Seeder{Peer: l.Peer, User: l.User, Addrs: l.Addrs, Complete: o.Complete}
}

func (f FileRef) compare(g FileRef) int {
	return cmp.Or(bytes.Compare(f.Group[:], g.Group[:]), bytes.Compare(f.File[:], g.File[:]))
}

// offerOf finds the offer of a file among offers in order.
func offerOf(offers []Offer, f FileRef) (Offer, bool) {
	i, ok := slices.BinarySearchFunc(offers, f, func(o Offer, f FileRef) int { return o.compare(f) })
	if !ok {
		return Offer{}, false
	}
	return offers[i], true
}

// among returns those of offers that are about some files; nil: all of them.
func among(offers []Offer, files []FileRef) []Offer {
	if files == nil {
		return offers
	}
	var out []Offer
	for _, f := range slices.Compact(slices.SortedFunc(slices.Values(files), FileRef.compare)) {
		if o, ok := offerOf(offers, f); ok {
			out = append(out, o)
		}
	}
	return out
}

// replaceOffers returns a list in order: offers without those withdrawn, and
// with the added ones, of which the last one of a file counts, as long as there are
// no more than most. It modifies none of them, and costs what is added and
// withdrawn, but for a copy.
func replaceOffers(offers, added []Offer, withdrawn []FileRef, most int) []Offer {
	type step struct {
		Offer
		ends bool
	}
	steps := make([]step, 0, len(withdrawn)+len(added))
	for _, f := range withdrawn {
		steps = append(steps, step{Offer{FileRef: f}, true})
	}
	for _, o := range added {
		steps = append(steps, step{o, false})
	}
	slices.SortStableFunc(steps, func(a, b step) int { return a.compare(b.FileRef) })
	last, room := steps[:0], most-len(offers)
	for i, s := range steps {
		if i+1 < len(steps) && steps[i+1].FileRef == s.FileRef {
			continue
		}
		if _, had := offerOf(offers, s.FileRef); had && s.ends {
			room++ // also for what comes before it
		}
		last = append(last, s)
	}
	out, rest := make([]Offer, 0, len(offers)+len(added)), offers
	for _, s := range last {
		n, had := slices.BinarySearchFunc(rest, s.FileRef, func(o Offer, f FileRef) int { return o.compare(f) })
		out, rest = append(out, rest[:n]...), rest[n:]
		if had {
			rest = rest[1:]
		}
		switch {
		case s.ends:
		case had:
			out = append(out, s.Offer)
		case room > 0:
			out, room = append(out, s.Offer), room-1
		}
	}
	return append(out, rest...)
}

// refs returns the files that offers and withdrawals are about; never nil.
func refs(offers []Offer, withdrawn []FileRef) []FileRef {
	out := append(make([]FileRef, 0, len(offers)+len(withdrawn)), withdrawn...)
	for _, o := range offers {
		out = append(out, o.FileRef)
	}
	return out
}
