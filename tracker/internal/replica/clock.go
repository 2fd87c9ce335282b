package replica

import (
	"math"
	"sync"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// maxLead is how far a stamp that somebody shows may push the clock ahead
	// of the wall clock.
	maxLead = 2 * time.Minute
	// maxAhead is how far ahead of the wall clock a fact's stamp may be to be
	// taken in now.
	maxAhead = 5 * time.Minute
)

// hybrid is a hybrid logical clock: as late as the wall clock, and later than
// everything it has seen. The wall clock comes as an argument, Unix milliseconds.
type hybrid struct {
	origin string // of the stamps it makes

	mu   sync.Mutex
	last protocol.Stamp
}

// setRight undoes the lead of a wall clock that ran ahead and was set right:
// others would keep what is stamped so outside. The lock is held.
func (h *hybrid) setRight(wall int64) {
	if isFuture(wall, h.last) {
		h.last = protocol.Stamp{Wall: wall + maxLead.Milliseconds()}
	}
}

// now reads the clock: not before anything it has stamped or observed.
func (h *hybrid) now(wall int64) protocol.Stamp {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.setRight(wall)
	if wall > h.last.Wall {
		return protocol.Stamp{Wall: wall, Origin: h.origin}
	}
	return protocol.Stamp{Wall: h.last.Wall, Logical: h.last.Logical, Origin: h.origin}
}

// next makes a stamp later than all before it and than after, which is that of
// the fact to be replaced: what was written here on sight of it must win.
func (h *hybrid) next(wall int64, after protocol.Stamp) protocol.Stamp {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.setRight(wall)
	base := h.last
	if after.After(base) {
		base = after
	}
	h.last = protocol.Stamp{Wall: wall, Origin: h.origin}
	if wall <= base.Wall {
		h.last.Wall, h.last.Logical = base.Wall, base.Logical+1
		if base.Logical == math.MaxUint32 {
			h.last.Wall, h.last.Logical = base.Wall+1, 0
		}
	}
	return h.last
}

// observe advances the clock to s, to at most maxLead ahead of wall.
func (h *hybrid) observe(wall int64, s protocol.Stamp) {
	if limit := wall + maxLead.Milliseconds(); s.Wall > limit {
		s = protocol.Stamp{Wall: limit}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.setRight(wall)
	if s.After(h.last) {
		h.last = s
	}
}

// isFuture reports whether a fact of stamp s has to wait outside.
func isFuture(wall int64, s protocol.Stamp) bool { return s.Wall > wall+maxAhead.Milliseconds() }
