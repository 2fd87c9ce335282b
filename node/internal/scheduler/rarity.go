package scheduler

import "math/rand/v2"

// rarity keeps the pieces to ask for in order of availability, rarest first,
// in random order where that is equal. A change of one piece's availability
// costs two swaps; adding or removing a piece one swap for each availability
// that occurs.
//
// Availability counts peers that have a part of the file. Peers that have all
// of it raise every piece alike, so they do not touch the order.
type rarity struct {
	rng   *rand.Rand
	avail []uint16 // by piece, wanted or not
	order []int32  // wanted pieces
	pos   []int32  // by piece: where in order, or absent
	// first[a] is where in order the pieces of availability a begin. The last
	// element is len(order).
	first []int
}

const absent = -1

// newRarity makes an order in which no piece is wanted.
func newRarity(pieces int, rng *rand.Rand) *rarity {
	r := &rarity{
		rng:   rng,
		avail: make([]uint16, pieces),
		order: make([]int32, 0, pieces),
		pos:   make([]int32, pieces),
		first: []int{0, 0},
	}
	for i := range r.pos {
		r.pos[i] = absent
	}
	return r
}

func (r *rarity) wanted(piece int) bool { return r.pos[piece] != absent }

// increase tells that one more peer has the piece.
func (r *rarity) increase(piece int) {
	a := int(r.avail[piece])
	r.avail[piece]++
	if !r.wanted(piece) {
		return
	}
	r.reach(a + 1)
	r.swap(int(r.pos[piece]), r.first[a+1]-1)
	r.first[a+1]--
	r.shuffle(piece)
}

// decrease tells that one peer less has the piece.
func (r *rarity) decrease(piece int) {
	a := int(r.avail[piece])
	r.avail[piece]--
	if !r.wanted(piece) {
		return
	}
	r.swap(int(r.pos[piece]), r.first[a])
	r.first[a]++
	r.shuffle(piece)
}

// add makes a piece wanted.
func (r *rarity) add(piece int) {
	a := int(r.avail[piece])
	r.reach(a)
	r.pos[piece] = int32(len(r.order))
	r.order = append(r.order, int32(piece))
	top := len(r.first) - 1
	r.first[top]++
	for b := top - 1; b > a; b-- {
		r.swap(int(r.pos[piece]), r.first[b])
		r.first[b]++
	}
	r.shuffle(piece)
}

// remove makes a piece unwanted.
func (r *rarity) remove(piece int) {
	a := int(r.avail[piece])
	top := len(r.first) - 1
	r.swap(int(r.pos[piece]), r.first[a+1]-1)
	for b := a + 1; b < top; b++ {
		r.first[b]--
		r.swap(int(r.pos[piece]), r.first[b+1]-1)
	}
	r.first[top]--
	r.order = r.order[:len(r.order)-1]
	r.pos[piece] = absent
}

// reach makes sure that there is a place for availability a.
func (r *rarity) reach(a int) {
	for len(r.first) < a+2 {
		r.first = append(r.first, len(r.order))
	}
}

// shuffle moves a piece to a random place among those of its availability.
func (r *rarity) shuffle(piece int) {
	a := int(r.avail[piece])
	r.swap(int(r.pos[piece]), r.first[a]+r.rng.IntN(r.first[a+1]-r.first[a]))
}

func (r *rarity) swap(i, j int) {
	if i == j {
		return
	}
	a, b := r.order[i], r.order[j]
	r.order[i], r.order[j] = b, a
	r.pos[a], r.pos[b] = int32(j), int32(i)
}
