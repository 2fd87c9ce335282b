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
	own    map[string]*own  // peers whose own lease has changed, and how it was; nil: there was none
}

// own is a lease of this tracker as the others were told of it.
type own struct {
	Lease
	opening uint64
}

// edit locks the table. The caller calls done.
func (t *Table) edit() *edit {
	t.mu.Lock()
	return &edit{t: t, before: make(map[string]Lease), own: make(map[string]*own)}
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

func (e *edit) touch(by *source, peer string) {
	if _, ok := e.own[peer]; !ok && by == e.t.own {
		e.own[peer] = nil
		if l := by.leases[peer]; l != nil {
			e.own[peer] = &own{l.Lease, l.opening}
		}
	}
	if _, ok := e.before[peer]; ok {
		return
	}
	var was Lease
	if l := e.t.latest(peer); l != nil {
		was = l.Lease
	}
	e.before[peer] = was
}

// set makes l the lease of its peer at a tracker. A lease with another opening
// than before is a new one, and the latest.
func (e *edit) set(by *source, l Lease, opening uint64) {
	e.touch(by, l.Peer)
	known := by.leases[l.Peer]
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
	e.t.unlist(known, l.Offers)
	known.Lease = l
	e.t.list(known)
}

func (e *edit) remove(l *lease) {
	e.touch(l.by, l.Peer)
	e.t.seen.Add(l.Session, e.t.cfg.Now())
	e.t.unlist(l, nil)
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

// list puts a lease under the files that it offers.
func (t *Table) list(l *lease) {
	for _, o := range l.Offers {
		t.under(o.FileRef).side(o.Complete)[l] = struct{}{}
	}
}

// unlist takes a lease from the files that it offers but will not, or not in
// the same way, any more.
func (t *Table) unlist(l *lease, next []Offer) {
	for _, o := range l.Offers {
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
		t.count(was, is)
		changes = append(changes, diff(was, is)...)
	}
	if len(changes) > 0 && t.cfg.OnChange != nil {
		t.outbox = append(t.outbox, notice{changes: changes})
	}
	t.publish(e.own)
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

// replaceOffers returns a new list in order: offers without those withdrawn,
// and with the added ones, of which the last one of a file counts.
func replaceOffers(offers, added []Offer, withdrawn []FileRef) []Offer {
	all := make(map[FileRef]bool, len(offers)+len(added))
	for _, o := range offers {
		all[o.FileRef] = o.Complete
	}
	for _, f := range withdrawn {
		delete(all, f)
	}
	for _, o := range added {
		if _, ok := all[o.FileRef]; ok || len(all) < maxOffers {
			all[o.FileRef] = o.Complete
		}
	}
	out := make([]Offer, 0, len(all))
	for f, complete := range all {
		out = append(out, Offer{FileRef: f, Complete: complete})
	}
	slices.SortFunc(out, func(a, b Offer) int { return a.compare(b.FileRef) })
	return out
}
