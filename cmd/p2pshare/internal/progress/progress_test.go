package progress_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vbauerster/mpb/v8"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/progress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var task = progress.Task{Kind: progress.Downloading, Group: "docs", Name: "a.bin"}

func TestDescribe(t *testing.T) {
	tests := []struct {
		name string
		kind progress.Kind
		s    progress.Snapshot
		want string
	}{
		{"nothing known", progress.Downloading, progress.Snapshot{Total: 100}, "0 %, 0 peers"},
		{"all known", progress.Downloading, progress.Snapshot{Done: 42, Total: 100, Rate: 1 << 20, Peers: 1, ETA: 61 * time.Second}, "42 %, 1.0 MiB/s, 1 peer, 1m1s left"},
		{"nearly done", progress.Downloading, progress.Snapshot{Done: 9999, Total: 10000, Peers: 2, ETA: time.Millisecond}, "99 %, 2 peers, 1s left"},
		{"empty file", progress.Downloading, progress.Snapshot{}, "100 %"},
		{"hashing", progress.Hashing, progress.Snapshot{Done: 1, Total: 2, Rate: 10}, "50 %, 10 B/s"},
		{"waiting", progress.Downloading, progress.Snapshot{Done: 1, Total: 2, Reason: "E_NO_SEEDERS", Message: "nobody \x1bhas it", Rate: 5}, `50 %, waiting: nobody \u001bhas it`},
		{"waiting without words", progress.Downloading, progress.Snapshot{Total: 2, Reason: "E_NO_SEEDERS"}, "0 %, waiting: E_NO_SEEDERS"},
		{"preparing", progress.Downloading, progress.Snapshot{State: "preparing", Done: 1, Total: 2, Message: "looking at what is on disk"}, "50 %, looking at what is on disk"},
		{"too far off to tell", progress.Downloading, progress.Snapshot{Total: 2, Rate: 1, ETA: 1000 * time.Hour}, "0 %, 1 B/s, 0 peers"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.s.Describe(tt.kind); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMeterIsSane(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m progress.Meter
		now := time.Unix(1e9, 0)
		total := rapid.Int64Range(0, 1<<50).Draw(t, "total")
		for done := int64(0); ; {
			s := m.Observe(now, done, total)
			if s.Rate < 0 || s.ETA < 0 || s.Percent() < 0 || s.Percent() > 100 || (s.Percent() == 100) != (done >= total) || s.Describe(progress.Hashing) == "" {
				t.Fatalf("at %d of %d: %+v, %d %%", done, total, s, s.Percent())
			}
			if done >= total {
				return
			}
			now = now.Add(time.Duration(rapid.Int64Range(0, 1e11).Draw(t, "pause")))
			done += rapid.Int64Range(1, max(1, total)).Draw(t, "step")
		}
	})
}

func TestMeterFindsTheRate(t *testing.T) {
	var m progress.Meter
	start := time.Unix(1e9, 0)
	var s progress.Snapshot
	for i := range 101 {
		s = m.Observe(start.Add(time.Duration(i)*100*time.Millisecond), int64(i)*100, 100_000)
	}
	if s.Rate < 999 || s.Rate > 1001 || s.ETA.Round(time.Second) != 90*time.Second {
		t.Errorf("rate %v and %v left, want 1000 B/s and 1m30s", s.Rate, s.ETA)
	}
	for i := range 20 {
		s = m.Observe(start.Add(10*time.Second+time.Duration(i)*time.Second), 10_000, 100_000)
	}
	if s.Rate > 10 {
		t.Errorf("rate %v after 20 s without a byte", s.Rate)
	}
}

// clock is a time that a test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func TestLines(t *testing.T) {
	var out bytes.Buffer
	c := &clock{time.Unix(1e9, 0)}
	lines := progress.NewLines(&out, c.now)
	other := progress.Task{Kind: progress.Hashing, Name: "b\x1b.bin"}
	for i := range 121 { // 12 s
		s := progress.Snapshot{Done: int64(i), Total: 200}
		if i >= 20 && i < 30 {
			s.Reason, s.Message = "E_NO_SEEDERS", "nobody has it"
		}
		lines.Update(task, s)
		if i < 40 {
			lines.Update(other, s)
		}
		c.at = c.at.Add(100 * time.Millisecond)
	}
	lines.End(task)
	lines.Note("a note")
	lines.Close()
	want := "downloading a.bin: 10 %, waiting: nobody has it\n" +
		`hashing b\u001b.bin: 10 %, waiting: nobody has it` + "\n" +
		"downloading a.bin: 35 %, 0 peers\ndownloading a.bin: 60 %, 0 peers\na note\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	c := &clock{time.Unix(1e9, 0)}
	j := progress.NewJSON(&out, c.now)
	for i := range 11 {
		j.Update(task, progress.Snapshot{State: "downloading", Done: int64(i), Total: 10, Rate: 2.5, Peers: 3, ETA: 1500 * time.Millisecond})
		c.at = c.at.Add(50 * time.Millisecond)
	}
	j.End(task)
	j.Note("a \"note\"")
	var done []int64
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for _, line := range lines[:len(lines)-1] {
		var o progress.Object
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatal(err)
		}
		want := progress.Object{Progress: "downloading", Group: "docs", Name: "a.bin", State: "downloading", Size: 10, Done: o.Done, Rate: 2, Peers: 3, ETA: 1.5}
		if o != want {
			t.Errorf("got %+v, want %+v", o, want)
		}
		done = append(done, o.Done)
	}
	if len(done) != 4 || done[0] != 0 || done[3] != 10 {
		t.Errorf("updates at %v, want four, the first and the last among them", done)
	}
	if got := lines[len(lines)-1]; got != `{"notice":"a \"note\""}` {
		t.Errorf("note %s", got)
	}
}

// board is a terminal that another goroutine draws on.
type board struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func (b *board) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.changed <- struct{}{}:
	default:
	}
	return b.text.Write(p)
}

func (b *board) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// await waits until all texts stand on the board.
func (b *board) await(t *testing.T, texts ...string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for _, text := range texts {
		for !strings.Contains(b.String(), text) {
			select {
			case <-b.changed:
			case <-deadline:
				t.Fatalf("%q does not stand in\n%q", text, b)
			}
		}
	}
}

func TestBars(t *testing.T) {
	out := &board{changed: make(chan struct{}, 1)}
	redraw := make(chan any)
	bars := progress.NewBars(out, mpb.WithManualRefresh(redraw))
	other := progress.Task{Kind: progress.Hashing, Name: strings.Repeat("long", 20)}
	bars.Update(task, progress.Snapshot{Done: 25, Total: 100, Peers: 2})
	bars.Update(other, progress.Snapshot{})
	redraw <- time.Now()
	out.await(t, "a.bin", "25 %, 2 peers", "longlong", "…")
	bars.Note("between")
	bars.Update(task, progress.Snapshot{Done: 100, Total: 100, Peers: 2})
	redraw <- time.Now()
	out.await(t, "between\n", "100 %, 2 peers")
	bars.End(task)
	bars.End(task) // twice does nothing
	bars.Close()
	bars.Note("after")
	_, _ = io.WriteString(out, "end")
	if !strings.HasSuffix(out.String(), "after\nend") {
		t.Errorf("the board ends with something else:\n%q", out)
	}
	bars.Update(task, progress.Snapshot{Total: 1}) // and anew
	bars.Close()
}
