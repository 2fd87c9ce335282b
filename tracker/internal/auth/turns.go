package auth

import "sync"

// turns hands out a few slots: to the places that wait in rotation, and within a
// place in the order of arrival. One place with many waiting so costs another
// one a turn, not all of theirs. It is safe for concurrent use.
type turns struct {
	most int // may wait

	mu      sync.Mutex
	free    int // slots; none while somebody waits
	waiting int
	lines   map[string][]turn // none is empty
	order   []string          // the keys of lines, the next one first
}

// turn gets one word: whether it has come, or will not.
type turn chan bool

func newTurns(slots, most int) *turns {
	return &turns{most: most, free: slots, lines: map[string][]turn{}}
}

// join waits in line. Without room the last of the longest line has to go, which
// may be the one that comes.
func (t *turns) join(place string) turn {
	own := make(turn, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free > 0 {
		t.free--
		own <- true
		return own
	}
	if t.waiting >= t.most {
		longest := place
		for p, line := range t.lines {
			if len(line) > len(t.lines[longest])+1 {
				longest = p
			}
		}
		if longest == place {
			own <- false
			return own
		}
		line := t.lines[longest]
		line[len(line)-1] <- false
		t.remove(longest, len(line)-1)
	}
	if len(t.lines[place]) == 0 {
		t.order = append(t.order, place)
	}
	t.lines[place] = append(t.lines[place], own)
	t.waiting++
	return own
}

// leave gives up waiting. If the turn came meanwhile, it is passed on.
func (t *turns) leave(place string, own turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, other := range t.lines[place] {
		if other == own {
			t.remove(place, i)
			return
		}
	}
	if <-own {
		t.next()
	}
}

// done gives a slot back.
func (t *turns) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next()
}

// next hands a slot to the first of the place whose turn it is.
func (t *turns) next() {
	if len(t.order) == 0 {
		t.free++
		return
	}
	place := t.order[0]
	t.order = append(t.order[1:], place)
	t.lines[place][0] <- true
	t.remove(place, 0)
}

func (t *turns) remove(place string, i int) {
	t.waiting--
	line := t.lines[place]
	if t.lines[place] = append(line[:i], line[i+1:]...); len(line) > 1 {
		return
	}
	delete(t.lines, place)
	for j, p := range t.order {
		if p == place {
			t.order = append(t.order[:j], t.order[j+1:]...)
			return
		}
	}
}
