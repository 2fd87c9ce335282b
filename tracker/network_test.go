package tracker_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/tracker"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// network is the trackers of one list, in this process and on loopback.
type network struct {
	t    testing.TB
	cfg  []tracker.Config
	run  []*tracker.Tracker // nil: not running
	mu   sync.Mutex
	logs []tracker.Activity
}

// newNetwork makes keys and a list for n trackers, and starts none.
func newNetwork(t testing.TB, n int) *network {
	t.Helper()
	w := &network{t: t, run: make([]*tracker.Tracker, n)}
	dir := t.TempDir()
	var lines []string
	for i, port := range freePorts(t, n) {
		key, _, err := host.LoadKey(filepath.Join(dir, fmt.Sprint("tracker-", i+1)), true)
		if err != nil {
			t.Fatal(err)
		}
		id, err := peer.IDFromPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		addr, err := ma.NewMultiaddr(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port))
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, roster.Format(addr, id))
	}
	entries, err := roster.Parse("TRACKER_INFO", []byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		w.cfg = append(w.cfg, tracker.Config{
			Trackers: entries, Number: i + 1, Dir: filepath.Join(dir, fmt.Sprint("tracker-", i+1)),
			NewNetwork: protocol.NetworkID{1}, MaxClients: 50, Log: w.log,
		})
	}
	t.Cleanup(func() {
		for i := range w.run {
			w.stop(i + 1)
		}
	})
	return w
}

// connected is a network of n trackers that serve and are connected.
func connected(t testing.TB, n int) *network {
	t.Helper()
	w := newNetwork(t, n)
	var all []int
	for i := range n {
		all = append(all, i+1)
	}
	w.start(all...)
	w.together()
	return w
}

// freePorts finds ports that nobody listens on just now, below those that the
// system gives to outgoing connections: a tracker may bind its port much later.
func freePorts(t testing.TB, n int) (ports []int) {
	t.Helper()
	for len(ports) < n {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)))
		if err != nil {
			continue // taken
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func (w *network) log(a tracker.Activity) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logs = append(w.logs, a)
}

// start starts a tracker and waits until it serves.
func (w *network) start(numbers ...int) {
	w.t.Helper()
	for _, n := range numbers {
		tr, err := tracker.New(w.cfg[n-1])
		if err != nil {
			w.t.Fatalf("start tracker %d: %v", n, err)
		}
		w.run[n-1] = tr
	}
	for _, n := range numbers {
		select {
		case <-w.run[n-1].Ready():
		case <-time.After(tt.Timeout):
			w.t.Fatalf("tracker %d does not get ready", n)
		}
	}
}

func (w *network) stop(n int) {
	w.t.Helper()
	if w.run[n-1] == nil {
		return
	}
	start := time.Now()
	if err := w.run[n-1].Close(); err != nil {
		w.t.Errorf("close tracker %d: %v", n, err)
	}
	if took := time.Since(start); took > 5*time.Second {
		w.t.Errorf("close tracker %d took %v", n, took)
	}
	w.run[n-1] = nil
}

// together waits until all that run are connected to each other.
func (w *network) together() {
	w.t.Helper()
	w.until("trackers are connected", func() bool {
		return !slices.ContainsFunc(w.run, func(t *tracker.Tracker) bool { return t == nil || t.Status().Connected != len(w.run) })
	})
}

// until polls a condition that nothing announces.
func (w *network) until(what string, f func() bool) {
	w.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(tt.Timeout)
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("not so after %v: %s", tt.Timeout, what)
		}
	}
}

// at is the address of a tracker.
func (w *network) at(n int) peer.AddrInfo {
	e := w.cfg[0].Trackers[n-1]
	return peer.AddrInfo{ID: e.ID, Addrs: e.Addrs()}
}

func (w *network) client(n int) *tt.Client { return tt.New(w.t).Use(w.at(n)) }

func wantCode(t *testing.T, what string, err error, want protocol.Code) {
	t.Helper()
	if got := protocol.CodeOf(err); got != want {
		t.Errorf("%s: %v (%s), want %q", what, err, got, want)
	}
}
