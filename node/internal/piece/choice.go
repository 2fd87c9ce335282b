package piece

import "slices"

// recent is how many grants ago a piece went out of which others may not have
// heard yet: it is on its way to one of them, who will tell and serve it. It is
// also how often a stream may be passed over for that.
const recent = 16

// outgoing is what went out of one file since somebody reads it.
type outgoing struct {
	streams int
	pieces  map[int]sent
}

// sent is how often a piece went out, and the number of the last grant.
type sent struct{ times, last int }

// next finds the first stream in the order of turns that can use a slot, and
// moves it and its peer to the end. With fresh it passes over those, for a
// while, that ask for nothing but pieces which have just gone out. mu is held.
func (t *turns) next(newcomers, fresh bool) *queue {
	for i, p := range t.ring {
		if newcomers && p.served {
			continue
		}
		for j, q := range p.queues {
			if len(q.waiting) == 0 || q.granted >= 0 || q.sending {
				continue
			}
			if fresh && t.stale(q) {
				q.passed++
				continue
			}
			q.passed = 0
			t.ring = append(slices.Delete(t.ring, i, i+1), p)
			p.queues = append(slices.Delete(p.queues, j, j+1), q)
			return q
		}
	}
	return nil
}

// stale reports whether a stream had better be passed over: others ask for
// pieces that would be new to all, and what it asks for it can soon have from
// whoever got it just now. mu is held.
func (t *turns) stale(q *queue) bool {
	if !q.peer.served || q.passed >= recent {
		return false
	}
	best := t.sent[q.file].pieces[q.waiting[t.best(q)]]
	return best.times > 0 && t.grants-best.last < recent
}

// best returns which waiting request is for the piece that went out least
// often, of equals the first: so leechers who start together get different
// pieces to trade. mu is held.
func (t *turns) best(q *queue) int {
	pieces := t.sent[q.file].pieces
	best := 0
	for i, piece := range q.waiting {
		if pieces[piece].times < pieces[q.waiting[best]].times {
			best = i
		}
	}
	return best
}

// pick takes the best request. mu is held.
func (t *turns) pick(q *queue) int {
	best := t.best(q)
	piece := q.waiting[best]
	q.waiting = slices.Delete(q.waiting, best, best+1)
	pieces := t.sent[q.file].pieces
	pieces[piece] = sent{times: pieces[piece].times + 1, last: t.grants}
	return piece
}
