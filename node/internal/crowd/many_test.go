package crowd_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// perProcess is how many clients one crowd process has: their sockets stay
// well below what a process may usually open.
const perProcess = 1000

// TestLongTenThousandClients has as many clients as a tracker is told to be
// prepared for, all at one tracker. P2PSHARE_CROWD_CLIENTS sets another number.
func TestLongTenThousandClients(t *testing.T) {
	long(t)
	clients := 10_000
	if text := os.Getenv("P2PSHARE_CROWD_CLIENTS"); text != "" {
		var err error
		if clients, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	const users = 50
	w := newTown(t, 1, clients, unlimited()).open()
	accounts := w.settle(users)
	w.within(patience, "the users are gone", func() bool { return w.trackers[0].state().Online == 0 })
	empty, cpu := w.trackers[0].Memory(), w.trackers[0].state().CPU
	began := time.Now()
	var crowds []process
	for first := 0; first < clients; first += perProcess {
		p := start(t, fmt.Sprint("crowd ", first/perProcess), "crowd", crowdJob{
			Info: w.info, KeyDir: w.trackerDir(1), Users: accounts,
			First: first, Clients: min(perProcess, clients-first), AtOnce: 8,
		})
		crowds = append(crowds, p)
		var ready string
		p.AnswerWithin(10*time.Minute, &ready)
		t.Logf("%d clients after %v", w.trackers[0].state().Online, time.Since(began).Round(time.Second))
	}
	s := w.trackers[0].state()
	if s.Online != clients {
		t.Errorf("%d clients are online, want %d", s.Online, clients)
	}
	t.Logf("attaching took %v of the tracker's CPU; %d files", (s.CPU - cpu).Round(time.Millisecond), w.trackers[0].Files())

	// All are served, and the tracker keeps everybody's stream alive meanwhile.
	one, err := newClient(w.entries)
	w.ok(err)
	defer one.close()
	s0, at := w.trackers[0].state(), time.Now()
	var took []call
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	for range 200 {
		<-pace.C
		began := time.Now()
		_, err := trackers.Call(t.Context(), one.Client, pb.TrackerServiceClient.Hello, &pb.HelloRequest{})
		w.ok(err)
		took = append(took, call{took: time.Since(began)})
	}
	all := times(took, func(call) bool { return true })
	s1 := w.trackers[0].state()
	t.Logf("calls among them: p50 %v, p99 %v; the idle crowd takes %.0f %% of a core, %d MiB (%d KiB a client)",
		quantile(all, 0.5), quantile(all, 0.99), 100*float64(s1.CPU-s0.CPU)/float64(time.Since(at)),
		w.trackers[0].Memory()>>20, (w.trackers[0].Memory()-empty)>>10/int64(clients))
	lost := 0
	for _, p := range crowds {
		var state crowdState
		p.Ask("status", &state)
		lost += state.At[""] + state.Ended
		if state.Attached > perProcess {
			t.Errorf("%s attached %d times", p.Name, state.Attached)
		}
	}
	if lost > 0 {
		t.Errorf("%d clients are not attached any more", lost)
	}
}
