package replica_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
	"github.com/p2pshare/p2pshare/tracker/internal/store/crashtest"
)

// long skips what takes too long for every change.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("P2PSHARE_LONG") == "" {
		t.Skip("takes minutes: run it with make long")
	}
}

// answered is what was answered as stored: fact by fact, on how many trackers.
type answered struct {
	mu sync.Mutex
	on map[catalog.Key]int
}

func (a *answered) add(k catalog.Key, on int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.on[k] = on
}

func (a *answered) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.on)
}

// powered is nodes on disks that lose what a power cut loses.
type powered struct {
	t        *testing.T
	nodes    []*node
	supplies []*crashtest.Power // of each node's disk
	disks    []*crashtest.Disk
	at       []*answered // by the node that answered
	made     int
}

func newPowered(t *testing.T, seed uint64, shared bool) *powered {
	t.Helper()
	w := &powered{t: t, nodes: cluster(t, 2)}
	for i, nd := range w.nodes {
		power := crashtest.NewPower(seed + uint64(i))
		if shared && i > 0 {
			power = w.supplies[0]
		}
		d, err := crashtest.Open(filepath.Join(t.TempDir(), "catalog.db"), power)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		nd.store = d
		w.supplies, w.disks, w.at = append(w.supplies, power), append(w.disks, d), append(w.at, &answered{on: map[catalog.Key]int{}})
		nd.start(true, w.nodes...)
	}
	awaitConnected(t, w.nodes...)
	return w
}

// load writes at all nodes until power fails, and then a little at those that
// still have some.
func (w *powered) load(power *crashtest.Power) {
	w.t.Helper()
	const writers, after = 4, 10
	var wg sync.WaitGroup
	for i, nd := range w.nodes {
		for j := range writers {
			w.made++
			name := fmt.Sprintf("u%d", w.made)
			wg.Go(func() {
				left := after
				for n := 0; left > 0; n++ {
					select {
					case <-power.Gone():
						left--
					default:
					}
					w.write(i, nd, fmt.Sprintf("%s-%d-%d", name, j, n), n)
				}
			})
		}
	}
	wg.Wait()
}

// write makes a change with a name to reserve now and then, others without.
func (w *powered) write(i int, nd *node, name string, n int) {
	var key catalog.Key
	build := func(c *catalog.Catalog) ([]catalog.Draft, error) {
		ds := catalog.SetDisabled(userID(name), true)
		if n%4 == 0 {
			ds = catalog.NewAccount(userID(name), name, "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA")
		}
		key = ds[len(ds)-1].Key
		return ds, nil
	}
	s, err := nd.propose(build)
	switch protocol.CodeOf(err) {
	case "":
		w.at[i].add(key, s.On)
	case protocol.CodeTrackerFull, protocol.CodeBusy: // its power is off
	default:
		w.t.Errorf("write: %v", err)
	}
}

// check looks for all that was answered on the disks themselves, before
// anybody has caught up with anybody.
func (w *powered) check(round int) {
	w.t.Helper()
	var on [2]map[catalog.Key]bool
	for i, d := range w.disks {
		on[i] = map[catalog.Key]bool{}
		if err := d.Records(func(r store.Record) error { on[i][catalog.Key(r.Key)] = true; return nil }); err != nil {
			w.t.Fatal(err)
		}
	}
	for i := range w.nodes {
		for k, n := range w.at[i].on {
			if !on[i][k] {
				w.t.Fatalf("round %d: %s was answered by tracker %d and is not on its disk", round, k, i+1)
			}
			if n == len(w.nodes) && !on[1-i][k] {
				w.t.Fatalf("round %d: %s was answered by tracker %d as stored on both and is not on the other's disk", round, k, i+1)
			}
		}
	}
}

// Nothing that was answered is lost by a power cut, of one tracker or of all at
// once, and every disk opens again.
func TestPowerCutsLoseNothingAnswered(t *testing.T) { powerCuts(t, 10) }

func TestLongPowerCuts(t *testing.T) {
	long(t)
	powerCuts(t, 100)
}

func powerCuts(t *testing.T, rounds int) {
	for _, all := range []bool{false, true} {
		t.Run(fmt.Sprintf("all at once %v", all), func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 2))
			w := newPowered(t, seed, all)
			for round := range rounds {
				victims := []int{rng.IntN(2)}
				if all {
					victims = []int{0, 1}
				}
				power := w.supplies[victims[0]]
				power.CutIn(1 + rng.IntN(30))
				w.load(power)
				for _, i := range victims {
					w.nodes[i].stop()
				}
				for _, i := range victims {
					if err := w.disks[i].Restart(); err != nil {
						t.Fatalf("round %d: tracker %d: %v", round, i+1, err)
					}
				}
				w.check(round)
				for _, i := range victims {
					w.nodes[i].start(false, w.nodes...)
				}
				awaitConnected(t, w.nodes...)
				awaitEqual(t, w.nodes...)
			}
			t.Logf("%d cuts, %d and %d answered changes", rounds, w.at[0].len(), w.at[1].len())
		})
	}
}

// A disk that breaks at the very first commit leaves a tracker that begins afresh.
func TestPowerCutWhileBeginning(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		power := crashtest.NewPower(seed)
		d, err := crashtest.Open(filepath.Join(t.TempDir(), "catalog.db"), power)
		if err != nil {
			t.Fatal(err)
		}
		nodes := cluster(t, 1)
		nodes[0].store = d
		power.CutIn(1)
		nodes[0].start(true)
		<-power.Gone()
		nodes[0].stop()
		if err := d.Restart(); err != nil {
			t.Fatal(err)
		}
		nodes[0].start(true)
		nodes[0].awaitReady()
		nodes[0].mustRegister("ada")
		nodes[0].stop()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A disk that is full at the beginning holds a new network up until there is room.
func TestBeginsWhenThereIsRoom(t *testing.T) {
	t.Parallel()
	nodes := cluster(t, 1)
	disk := &faulty{Store: nodes[0].store}
	nodes[0].store = disk
	disk.set(true)
	nodes[0].start(true)
	await(t, "the disk is found to be full", func() bool { return disk.refusals() > 0 })
	if err := nodes[0].Serving(); protocol.CodeOf(err) != protocol.CodeBusy {
		t.Errorf("Serving = %v, want E_BUSY", err)
	}
	disk.set(false)
	nodes[0].awaitReady()
}
