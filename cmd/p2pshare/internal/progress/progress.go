// Package progress shows how long transfers are going: what is told about them
// becomes numbers worth showing, and a renderer brings those to a terminal, to
// plain lines or to JSON. The shell and the demo use it; it knows neither nodes
// nor commands.
package progress

import (
	"fmt"
	"math"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/p2pshare/p2pshare/protocol"
)

// Kind says what is being done to a file.
type Kind string

// The kinds.
const (
	Hashing     Kind = "hashing"
	Downloading Kind = "downloading"
)

// Task is one thing under way; equal tasks are the same thing.
type Task struct {
	Kind        Kind
	Group, Name string
}

// Snapshot is where a task stands.
type Snapshot struct {
	State       string // empty for hashing
	Reason      string // a code, while it waits
	Message     string // the same for a person
	Done, Total int64  // bytes
	Rate        float64
	Peers       int
	ETA         time.Duration // zero if not known
}

// Waits reports whether the task is held up for a reason.
func (s Snapshot) Waits() bool { return s.Reason != "" }

// Renderer shows tasks. One goroutine calls Update, End and Close; Note may be
// called by any.
type Renderer interface {
	// Update shows where a task stands, as often as the renderer sees fit.
	Update(t Task, s Snapshot)
	// End stops to show a task that is over, or goes on unwatched.
	End(t Task)
	// Note writes a line that has nothing to do with progress, without tearing
	// what is shown.
	Note(line string)
	// Close ends all tasks.
	Close()
}

// Percent returns how much is done, from 0 to 100, rounded down so that 100
// means all of it.
func (s Snapshot) Percent() int {
	if s.Done >= s.Total {
		return 100
	}
	return int(100 * (float64(max(0, s.Done)) / float64(s.Total)))
}

// Describe returns the numbers for a person: percent, then rate, peers and time
// left, or what it waits for.
func (s Snapshot) Describe(kind Kind) string {
	text := fmt.Sprintf("%d %%", s.Percent())
	if s.State == "paused" {
		return text + ", paused"
	}
	if s.Waits() {
		return text + ", waiting: " + s.why()
	}
	if s.State == "preparing" {
		return text + ", " + s.why()
	}
	if s.Rate >= 1 {
		text += ", " + Rate(s.Rate)
	}
	if kind == Downloading && (s.Peers > 0 || s.Done < s.Total) {
		text += fmt.Sprintf(", %d %s", s.Peers, plural(s.Peers, "peer"))
	}
	if s.ETA > 0 && s.ETA < maxETA {
		text += ", " + ETA(s.ETA) + " left"
	}
	return text
}

func (s Snapshot) why() string {
	if s.Message != "" {
		return protocol.Printable(s.Message)
	}
	return s.Reason
}

// Rate formats bytes per second.
func Rate(bytesPerSecond float64) string {
	if bytesPerSecond < 0 || math.IsNaN(bytesPerSecond) || bytesPerSecond > math.MaxInt64 {
		return "0 B/s"
	}
	return humanize.IBytes(uint64(bytesPerSecond)) + "/s"
}

// ETA formats a time left, in whole seconds.
func ETA(d time.Duration) string {
	return max(d.Round(time.Second), time.Second).String()
}

// maxETA is how far off an end may be to be worth telling.
const maxETA = 100 * time.Hour

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// Meter turns "so much is done" into a rate and the time left. It belongs to
// one goroutine; the zero value is ready.
type Meter struct {
	started bool
	at      time.Time
	done    int64
	rate    float64
}

// meterMemory is how long a change of rate takes to show for the most part:
// long enough to read the number, short enough to see a stall.
const meterMemory = 3 * time.Second

// Observe takes the state at a moment and returns it with rate and time left.
func (m *Meter) Observe(now time.Time, done, total int64) Snapshot {
	if !m.started {
		m.started, m.at, m.done = true, now, done
	}
	if passed := now.Sub(m.at); passed > 0 {
		current := float64(max(0, done-m.done)) / passed.Seconds()
		weight := 1 - math.Exp(-passed.Seconds()/meterMemory.Seconds())
		if m.rate == 0 {
			weight = 1
		}
		m.rate += weight * (current - m.rate)
		m.at, m.done = now, done
	}
	s := Snapshot{Done: done, Total: total, Rate: m.rate}
	if m.rate >= 1 && total > done {
		seconds := float64(total-done) / m.rate
		s.ETA = time.Duration(min(seconds, maxETA.Seconds()) * float64(time.Second))
	}
	return s
}
