package piece

import (
	"testing"
	"time"
)

// uplink plays a server that always has requests waiting, for so many seconds,
// and returns the slots that it used in each.
func (w *width) uplink(seconds int, rate func(slots int) int64) (slots []int) {
	var now time.Time
	var sent int64
	w.observe(now, sent, false, 0)
	for range seconds {
		now = now.Add(trial)
		sent += rate(w.slots)
		slots = append(slots, w.observe(now, sent, true, 0))
	}
	return slots
}

func TestWidth(t *testing.T) {
	const mib = 1 << 20
	tests := []struct {
		name     string
		limit    float64
		rate     func(slots int) int64
		min, max int // slots at the end
		trials   int // seconds with more than those
	}{
		{name: "the uplink is full", rate: func(int) int64 { return 5 * mib }, min: firstSlots, max: 2 * firstSlots, trials: 8},
		{name: "a limit fills it", limit: 5 * mib, rate: func(int) int64 { return 5 * mib }, min: 1, max: 1},
		{name: "two readers fill a limit", limit: 5 * mib, rate: func(n int) int64 { return int64(min(n, 2)) * 5 * mib / 2 }, min: 2, max: 2},
		{name: "every reader is slow", rate: func(n int) int64 { return int64(n) * mib }, min: 64, max: 64, trials: 100},
		{name: "16 slow readers fill it", rate: func(n int) int64 { return int64(min(n, 16)) * mib }, min: 16, max: 32, trials: 100},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			slots := newWidth(64, tt.limit).uplink(100, tt.rate)
			wide := 0
			for _, n := range slots {
				if n > firstSlots {
					wide++
				}
			}
			if last := slots[len(slots)-1]; last < tt.min || last > tt.max || wide > tt.trials {
				t.Errorf("%d slots at the end, want %d to %d; %d s with more than %d, want %d at most", last, tt.min, tt.max, wide, firstSlots, tt.trials)
			}
		})
	}
}

func TestWidthAtBlockedReaders(t *testing.T) {
	w := newWidth(64, 0)
	now := time.Time{}.Add(time.Second)
	for _, want := range []int{16, 64, 64} {
		if got := w.observe(now, 0, true, w.slots/2); got != want {
			t.Errorf("%d slots, want %d", got, want)
		}
	}
	// Nobody asks any more: what was learned stays until all are gone.
	if got := w.observe(now, 0, false, 0); got != 64 {
		t.Errorf("%d slots, want 64", got)
	}
	if got := w.reset(); got != firstSlots {
		t.Errorf("%d slots, want %d", got, firstSlots)
	}
	if got := newWidth(1, 0).slots; got != 1 {
		t.Errorf("%d slots of 1", got)
	}
}

func TestWidthWhereManyRead(t *testing.T) {
	for _, tt := range []struct {
		readers, want int
		limit         float64
	}{{1, firstSlots, 0}, {8, 4, 0}, {12, 6, 0}, {100, crowdSlots, 0}, {100, 1, 1 << 20}} {
		w := newWidth(64, tt.limit)
		w.readers(tt.readers)
		if w.slots != tt.want {
			t.Errorf("%d slots for %d readers with a limit of %.0f, want %d", w.slots, tt.readers, tt.limit, tt.want)
		}
	}
}

// The beginning ends before its time where a slot more makes the whole faster,
// and is left alone where our uplink sets the pace.
func TestBeginning(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		name  string
		rate  func(slots int) int64
		over  bool
		tried int // of 100 seconds, at most
	}{
		{"every reader is slow", func(n int) int64 { return int64(n) * mib / 4 }, true, 1},
		{"the uplink is full", func(int) int64 { return 5 * mib }, false, 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, now := newBeginning(), time.Time{}
			sent, tried, extra, over := int64(0), 0, 0, false
			b.observe(now, sent, 0)
			for range 100 {
				now = now.Add(trial)
				sent += tt.rate(1 + extra)
				if extra, over = b.observe(now, sent, 1+extra); over {
					break
				}
				tried += extra
			}
			if over != tt.over || tried > tt.tried || tried == 0 {
				t.Errorf("over: %v, want %v; a slot more for %d s, want 1 to %d", over, tt.over, tried, tt.tried)
			}
			if extra, over := b.observe(now, sent, 0); extra != 0 || over {
				t.Errorf("without anybody who waits: %d slots more, over: %v", extra, over)
			}
		})
	}
}
