package crowd_test

import (
	"context"
	"os"
	"testing"
	"time"
)

const (
	// elsewhere is how soon all clients of a dead tracker are attached to others.
	elsewhere = 10 * time.Second
	// maxMemory is what a tracker may take of the machine at 1,000 clients.
	maxMemory = 500 << 20
	// maxList is what 99 of 100 listing calls may take at most meanwhile.
	maxList = 500 * time.Millisecond
	// oneHash is what checking a password takes of the heap.
	oneHash = 19 << 20
	// listing is for how long such calls are made at least.
	listing = 3 * time.Second
)

func long(t *testing.T) {
	t.Helper()
	if os.Getenv("P2PSHARE_LONG") == "" {
		t.Skip("takes minutes: run it with make long")
	}
}

// The short form runs beside other tests, so it has no opinion on speed: all
// move, nobody's password is checked again, no session ends.
func TestHundredClientsLoseATracker(t *testing.T) { loseATracker(t, 20, 100, false) }

func TestLongThousandClientsLoseATracker(t *testing.T) {
	long(t)
	loseATracker(t, 100, 1000, true)
}

// allocated is how many bytes the trackers but the first have allocated so far.
func (w *town) allocated() (sum int64) {
	w.Helper()
	for _, p := range w.trackers[1:] {
		var s trackerState
		p.Ask("collect", &s)
		sum += s.Allocated
	}
	return sum
}

// loseATracker kills one of three trackers under clients that list groups and files.
// timed has how long that takes be a matter of pass or fail.
func loseATracker(t *testing.T, users, clients int, timed bool) {
	elsewhere := elsewhere
	if !timed {
		elsewhere = patience
	}
	w := newTown(t, 3, clients+users, unlimited()).open()
	began := time.Now()
	accounts := w.settle(users)
	t.Logf("%d users are there after %v", users, time.Since(began).Round(time.Millisecond))
	began = time.Now()
	c, err := gather(crowdJob{Info: w.info, KeyDir: w.trackerDir(1), Users: accounts, Clients: clients, AtOnce: 16})
	w.ok(err)
	defer c.close()
	t.Logf("%d clients are attached after %v: %v", clients, time.Since(began).Round(time.Millisecond), c.state())
	w.within(patience, "all trackers know all clients", func() bool {
		for _, p := range w.trackers {
			if p.state().Online < clients {
				return false
			}
		}
		return true
	})
	logins, cpu := 0, -cpuTime()
	for _, p := range w.trackers[1:] {
		s := p.state()
		logins += s.Logins
		cpu -= s.CPU
		t.Logf("%s: %+v, %d MiB, %d files", p.Name, s, p.Memory()>>20, p.Files())
	}
	if os.Getenv("P2PSHARE_CROWD_PROFILE") != "" {
		w.trackers[1].Tell("profile")
	}
	allocated := -w.allocated()
	ctx, cancel := context.WithCancel(t.Context())
	lists := make(chan []call, 1)
	go func() { lists <- c.list(ctx, accounts, 20) }()
	dead := w.entries[0].Text
	lost := c.state().At[dead]
	if lost == 0 {
		t.Fatal("nobody uses tracker 1")
	}
	began = time.Now()
	w.trackers[0].Kill()
	took := w.within(elsewhere, "all clients are attached elsewhere", func() bool {
		at := c.state().At
		return at[""]+at[dead] == 0
	})
	t.Logf("%d clients of tracker 1 were attached elsewhere %v after its end: %v", lost, took.Round(time.Millisecond), c.state())
	settled, stop := context.WithTimeout(t.Context(), elsewhere)
	defer stop()
	for _, one := range c.clients {
		w.ok(one.Settle(settled))
	}
	if rest := listing - time.Since(began); rest > 0 {
		<-time.After(rest)
	}
	cancel()
	all := <-lists
	allocated += w.allocated()
	for _, made := range all {
		w.ok(made.err)
	}
	// Those of the dead tracker's clients wait until the move is done.
	alive := times(all, func(made call) bool { return made.holder != dead && made.holder != "" })
	moved := times(all, func(made call) bool { return made.holder == dead || made.holder == "" })
	t.Logf("%d listing calls: p50 %v, p99 %v, most %v; %d others were caught by the move: p50 %v, most %v", len(alive),
		quantile(alive, 0.5), quantile(alive, 0.99), quantile(alive, 1), len(moved), quantile(moved, 0.5), quantile(moved, 1))
	if p99 := quantile(alive, 0.99); timed && p99 > maxList {
		t.Errorf("p99 of listing calls is %v, at most %v is allowed", p99, maxList)
	}
	for _, p := range w.trackers[1:] {
		s := p.state()
		logins -= s.Logins
		cpu += s.CPU
		t.Logf("%s: %+v, %d MiB, %d files", p.Name, s, p.Memory()>>20, p.Files())
		if m := p.Memory(); m > maxMemory {
			t.Errorf("%s takes %d MiB, at most %d are allowed", p.Name, m>>20, maxMemory>>20)
		}
	}
	t.Logf("clients and trackers used %v of CPU for the move and %d calls", (cpu + cpuTime()).Round(time.Millisecond), len(all))
	if logins != 0 {
		t.Errorf("the move took %d checks of a password", -logins)
	}
	t.Logf("the trackers allocated %d KiB for each client that moved, calls included", allocated>>10/int64(lost))
	if allocated > int64(lost)*oneHash/2 {
		t.Errorf("the trackers allocated %d MiB while %d clients moved: as if passwords had been checked", allocated>>20, lost)
	}
	if s := c.state(); s.Ended > 0 || s.Refused > 0 {
		t.Errorf("sessions ended and offers refused: %+v", s)
	}
	if os.Getenv("P2PSHARE_CROWD_PROFILE") != "" {
		w.trackers[1].End()
	}
}
