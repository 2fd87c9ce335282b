package piece

import "time"

const (
	// firstSlots is how many pieces are sent at once as long as more is not
	// found to be faster. Few, so that a piece arrives soon and can be traded
	// soon, and that what is not begun can still be given up for a rarer one.
	firstSlots = 4
	// crowdSlots is the same where many read, for half as many pieces as readers:
	// the more they are, the more often one of them is busy with what others
	// send, and then the rest must fill the uplink.
	crowdSlots = 8
	// trial is how long a number of slots is tried.
	trial = time.Second
	// worth is the part of the growth in slots by which the rate must grow to
	// show that readers, and not our own uplink, set the pace.
	worth = 0.5
	// reached is the part of a limit that counts as all of it.
	reached = 0.9
	// longestRest bounds the trials between two attempts to grow.
	longestRest = 32
)

// width finds how many pieces to send at once: as few as fill the uplink. It
// belongs to the goroutine that watches the server.
type width struct {
	most, first, slots int
	// limit is the bytes per second that are allowed; 0 for any number.
	limit float64

	since time.Time
	sent  int64
	// smaller is the number of slots before the trial under way, which brought
	// rate bytes per second; 0 if none is under way.
	smaller int
	rate    float64
	// rest is how many periods the next failure keeps from trying, wait how
	// many are left of the last one.
	rest, wait int
}

func newWidth(most int, limit float64) *width {
	first := firstSlots
	if limit > 0 {
		first = 1 // writing to one reader after another fills what is known to be narrow
	}
	first = min(first, most)
	return &width{most: most, first: first, slots: first, limit: limit, rest: 1, wait: 1}
}

// readers tells how many streams there are.
func (w *width) readers(n int) {
	if w.limit == 0 {
		w.first = min(min(max(n/2, firstSlots), crowdSlots), w.most)
		w.slots = max(w.slots, w.first)
	}
}

// observe takes the bytes sent so far, whether requests wait for a slot, and how
// many writes are blocked. It returns how many slots there are from now on.
func (w *width) observe(now time.Time, sent int64, wanting bool, blocked int) int {
	if !wanting {
		// Nothing to be learned: there are enough, or nobody asks.
		w.since, w.sent, w.smaller = now, sent, 0
		return w.slots
	}
	if 2*blocked >= w.slots {
		// Nobody needs a trial to see that these readers are slow, and those
		// who wait behind them have waited long enough.
		w.slots = min(4*w.slots, w.most)
		w.since, w.sent, w.smaller = now, sent, 0
		return w.slots
	}
	took := now.Sub(w.since)
	if took < trial {
		return w.slots
	}
	rate := float64(sent-w.sent) / took.Seconds()
	w.since, w.sent = now, sent
	switch {
	case w.smaller > 0:
		grown := float64(w.slots-w.smaller) / float64(w.smaller)
		if rate >= w.rate*(1+worth*grown) {
			w.rest = 1
		} else {
			w.slots, w.wait = w.smaller, w.rest
			w.rest = min(2*w.rest, longestRest)
		}
		w.smaller = 0
	case w.limit > 0 && rate >= reached*w.limit:
		// No number of slots makes that faster.
	case w.wait > 0:
		w.wait--
	case w.slots < w.most:
		w.smaller, w.rate = w.slots, rate
		w.slots = min(w.slots+max(w.slots/2, 1), w.most)
	}
	return w.slots
}

// reset forgets what was learned: those from whom it was are gone.
func (w *width) reset() int {
	*w = *newWidth(w.most, w.limit)
	return w.slots
}

// beginning finds out whether to end the beginning, in which pieces go out one
// after the other, before its time: where readers are slower than our uplink,
// that is no sooner for the first and much later for the last. It belongs to the
// goroutine that watches the server.
type beginning struct {
	since  time.Time
	sent   int64
	trying bool
	used   int     // slots before the trial under way
	rate   float64 // bytes per second before it
	// rest and wait are as in width.
	rest, wait int
}

func newBeginning() *beginning { return &beginning{rest: 1, wait: 1} }

// observe takes the bytes sent so far, and how many slots are in use while the
// beginning keeps others from it; 0 if it does not. It returns how many more
// slots to try, and whether that was worth it: the beginning is over.
func (b *beginning) observe(now time.Time, sent int64, held int) (extra int, over bool) {
	took := now.Sub(b.since)
	switch {
	case held == 0:
		b.since, b.sent, b.trying = now, sent, false
		return 0, false
	case took >= trial:
		rate := float64(sent-b.sent) / took.Seconds()
		b.since, b.sent = now, sent
		over = b.judge(rate, held)
	}
	if b.trying {
		extra = b.used
	}
	return extra, over
}

// judge takes the rate of a period.
func (b *beginning) judge(rate float64, held int) (over bool) {
	switch {
	case b.trying:
		b.trying = false
		if rate >= b.rate*(1+worth) {
			b.rest, b.wait = 1, 1
			return true
		}
		b.wait = b.rest
		b.rest = min(2*b.rest, longestRest)
	case b.wait > 0:
		b.wait--
	default:
		b.trying, b.used, b.rate = true, held, rate
	}
	return false
}
