package scheduler

import (
	"testing"
	"time"
)

const mib = 1 << 20

// TestWindow drives the pace of a peer whose link has a rate and a round-trip
// time until the window stands still.
func TestWindow(t *testing.T) {
	tests := []struct {
		name     string
		rate     float64 // bytes per second of the link
		rtt      time.Duration
		min, max int
	}{
		{name: "slow and near", rate: 100 << 10, rtt: time.Millisecond, min: 2, max: 2},
		{name: "slow and far", rate: 100 << 10, rtt: 300 * time.Millisecond, min: 2, max: 2},
		{name: "home line", rate: 12 * mib, rtt: 30 * time.Millisecond, min: 2, max: 3},
		{name: "local network", rate: 110 * mib, rtt: 300 * time.Microsecond, min: 2, max: 3},
		{name: "loopback, full from the start", rate: 1000 * mib, rtt: 100 * time.Microsecond, min: 2, max: 4},
		{name: "fast and far", rate: 110 * mib, rtt: 50 * time.Millisecond, min: 18, max: 26},
		{name: "beyond all bounds", rate: 1000 * mib, rtt: 300 * time.Millisecond, min: 64, max: 64},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			const length = mib / 2
			c := newPace()
			c.rtt = tt.rtt
			c.begin(0)
			var now time.Duration
			for range 3000 {
				now = c.over(now, tt.rate, length)
				if c.window < minWindow || c.window > maxWindow {
					t.Fatalf("window %d", c.window)
				}
			}
			if c.window < tt.min || c.window > tt.max {
				t.Errorf("window: got %d, want %d to %d", c.window, tt.min, tt.max)
			}
		})
	}
}

func TestWindowShrinks(t *testing.T) {
	const length = mib / 2
	c := newPace()
	c.rtt = 50 * time.Millisecond
	var now time.Duration
	for range 1000 {
		now = c.over(now, 100*mib, length)
	}
	wide := c.window
	for range 600 {
		now = c.over(now, 5*mib, length)
	}
	narrow := c.window
	for range 1000 {
		now = c.over(now, 100*mib, length)
	}
	if wide < 15 || narrow > 3 || c.window < 15 {
		t.Errorf("window: %d at 100 MiB/s, then %d at 5 MiB/s, then %d again", wide, narrow, c.window)
	}
}

// over delivers a piece over a link of that rate, which waits for requests
// where the window is small.
func (c *pace) over(now time.Duration, rate float64, length int64) time.Duration {
	rate = min(rate, float64(int64(c.window)*length)/c.rtt.Seconds())
	now += time.Duration(float64(length) / rate * float64(time.Second))
	c.arrived(now, length, length, false)
	return now
}

func TestRemaining(t *testing.T) {
	c := newPace()
	c.rate = mib / 2 // a piece each second
	tests := []struct {
		name   string
		now    time.Duration
		before int
		want   time.Duration
	}{
		{name: "just begun", want: time.Second},
		{name: "half way", now: 500 * time.Millisecond, want: 500 * time.Millisecond},
		{name: "the next one", now: 500 * time.Millisecond, before: 1, want: 1500 * time.Millisecond},
		{name: "late", now: 3 * time.Second, want: 2 * time.Second},
		{name: "behind a late one", now: 3 * time.Second, before: 1, want: 5 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := c.remaining(tt.now, tt.before, mib/2); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
