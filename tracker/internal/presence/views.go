package presence

import "math/rand/v2"

// Seeders returns at most limit clients that offer the file, complete ones
// first, those alike by chance and in random order, so that not all downloaders
// are sent to the same ones.
func (t *Table) Seeders(f FileRef, limit int) []Seeder {
	var all []Seeder
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.offers[f]
	if o == nil {
		return nil
	}
	for _, side := range []map[*lease]struct{}{o.complete, o.partial} {
		first := len(all)
		for l := range side { // from a random one on
			if len(all) >= limit {
				break
			}
			if t.latest(l.Peer) == l {
				offer, _ := offerOf(l.Offers, f)
				all = append(all, l.seeder(offer))
			}
		}
		list := all[first:]
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	return all
}

// Complete counts the users online that have the whole file.
func (t *Table) Complete(f FileRef) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o := t.offers[f]; o != nil {
		return len(o.users)
	}
	return 0
}

// OfferedIncomplete returns this tracker's own clients that offer the file in part.
func (t *Table) OfferedIncomplete(f FileRef) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.offers[f]
	if o == nil {
		return nil
	}
	var out []string
	for l := range o.partial {
		if l.by == t.own {
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
