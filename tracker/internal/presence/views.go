package presence

import (
	"math/rand/v2"

	"github.com/p2pshare/p2pshare/protocol"
)

// offering calls f for each lease that counts and offers the file. Called with t.mu held.
func (t *Table) offering(f FileRef, visit func(*lease, Offer)) {
	for l := range t.offers[f] {
		if t.latest(l.Peer) == l {
			o, _ := offerOf(l.Offers, f)
			visit(l, o)
		}
	}
}

// Seeders returns at most limit clients that offer the file, complete ones
// first, those alike in random order, so that not all downloaders are sent to
// the same ones.
func (t *Table) Seeders(f FileRef, limit int) []Seeder {
	var complete, partial []Seeder
	t.mu.Lock()
	t.offering(f, func(l *lease, o Offer) {
		if o.Complete {
			complete = append(complete, l.seeder(o))
		} else {
			partial = append(partial, l.seeder(o))
		}
	})
	t.mu.Unlock()
	for _, list := range [][]Seeder{complete, partial} {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	all := append(complete, partial...)
	return all[:min(len(all), max(limit, 0))]
}

// Complete counts the users online that have the whole file.
func (t *Table) Complete(f FileRef) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	users := make(map[protocol.UserID]struct{})
	t.offering(f, func(l *lease, o Offer) {
		if o.Complete {
			users[l.User] = struct{}{}
		}
	})
	return len(users)
}

// OfferedIncomplete returns this tracker's own clients that offer the file in part.
func (t *Table) OfferedIncomplete(f FileRef) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for l := range t.offers[f] {
		if o, _ := offerOf(l.Offers, f); l.by == t.own && !o.Complete {
			out = append(out, l.Peer)
		}
	}
	return out
}

// Online counts the clients, of all trackers.
func (t *Table) Online() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.peers)
}
