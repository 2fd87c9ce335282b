package sim

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

var (
	seeds = flag.Int("seeds", 0, "how many random worlds; default 50, under the race detector 20, with -short 10")
	first = flag.Uint64("seed", 1, "the first seed of random worlds; with -seeds 1 it repeats one")
)

const (
	// worldTime is how long things happen before a world comes to rest.
	worldTime = 5 * time.Minute
	// healTime is how soon all have to be equal afterwards.
	healTime = 20 * time.Second
)

// bubble runs f in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// TestRandomWorlds plays worlds from consecutive seeds:
//
//	go test ./tracker/internal/sim -run 'TestRandomWorlds$' -seed 17 -seeds 1 -v
func TestRandomWorlds(t *testing.T) {
	playAll(t, worlds(), func() fabric { return newLAN() })
}

// worlds returns how many there are to play.
func worlds() int {
	switch {
	case *seeds > 0:
		return *seeds
	case testing.Short():
		return 10
	case raceEnabled: // which makes them ten times as slow
		return 20
	}
	return 50
}

// TestRandomWorldsOverQUIC plays the same scripts with hosts of libp2p: one in
// a hundred of as many seeds, since they take ten times as long.
func TestRandomWorldsOverQUIC(t *testing.T) {
	playAll(t, max(1, *seeds/100), func() fabric { return newPackets() })
}

// playAll plays n worlds, as many at once as there are processors.
func playAll(t *testing.T, n int, over func() fabric) {
	var mu sync.Mutex
	var slowest time.Duration
	total := map[string]int{}
	t.Run("worlds", func(t *testing.T) {
		for seed := *first; seed < *first+uint64(n); seed++ {
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				t.Parallel()
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("repeat it with: go test ./tracker/internal/sim -run '%s$' -seed %d -seeds 1 -v",
							strings.Split(t.Name(), "/")[0], seed)
					}
				})
				bubble(t, func(t *testing.T) {
					w := newScript(seed).play(t, over())
					mu.Lock()
					defer mu.Unlock()
					slowest = max(slowest, w.healed)
					w.count(total)
				})
			})
		}
	})
	summary := fmt.Sprintf("%d worlds of %v; the slowest was equal again after %v; %v", n, worldTime, slowest, total)
	if *seeds > 1 {
		fmt.Println(summary) // what make sim is asked for
		return
	}
	t.Log(summary)
}

// script is what happens in a world.
type script struct {
	seed     uint64
	trackers int
	calm     bool // nothing fails
	events   []happening
}

// happening is an act at a tracker, or a fault.
type happening struct {
	at    time.Duration
	where uint32
	act   act
	fault string // "" for an act
	size  uint32
}

// faults are the kinds of trouble.
var faults = []weighted{
	{"isolate", 4},
	{"cut", 4},
	{"cut one way", 2},
	{"heal", 6},
	{"slow", 2},
	{"kill", 5},
	{"start", 8},
	{"stop", 1},
	{"restore", 3},
	{"wipe", 1},
	{"clock", 3},
	{"clock right", 2},
	{"disk full", 2},
	{"disk free", 3},
	{"roster less", 1},
	{"roster whole", 2},
	{"copy", 3},
	{"add tracker", 1},
}

// weighted is a kind of thing that happens, with how often it comes.
type weighted = struct {
	kind   string
	weight int
}

func newScript(seed uint64) *script { return newScriptOf(seed, acts, faults) }

func newScriptOf(seed uint64, acts, faults []weighted) *script {
	rng := rand.New(rand.NewPCG(seed, 0))
	s := &script{seed: seed, trackers: 2 + rng.IntN(3), calm: rng.IntN(10) == 0}
	pace := time.Duration(500+rng.IntN(4000)) * time.Millisecond // between acts
	trouble := time.Duration(3+rng.IntN(40)) * time.Second       // between faults
	for at, n := time.Duration(0), uint64(0); at < worldTime; n++ {
		at += time.Duration(rng.Int64N(int64(2 * pace)))
		// Now and then several things happen at the same moment.
		for range 1 + rng.IntN(3)/2*rng.IntN(4) {
			n++
			s.events = append(s.events, happening{at: at, where: rng.Uint32(), act: act{
				kind: choose(rng, acts), n: n, a: rng.Uint32(), b: rng.Uint32(), c: rng.Uint32(),
			}})
		}
	}
	for at := time.Duration(0); !s.calm && at < worldTime; {
		at += time.Duration(rng.Int64N(int64(2 * trouble)))
		s.events = append(s.events, happening{at: at, where: rng.Uint32(), fault: choose(rng, faults), size: rng.Uint32()})
	}
	slices.SortStableFunc(s.events, func(a, b happening) int { return int(a.at - b.at) })
	return s
}

func choose(rng *rand.Rand, from []weighted) string {
	sum := 0
	for _, k := range from {
		sum += k.weight
	}
	pick := rng.IntN(sum)
	for _, k := range from {
		if pick -= k.weight; pick < 0 {
			return k.kind
		}
	}
	return ""
}

// player is a world with what playing a script takes.
type player struct {
	*world
	s       *script
	begun   time.Time
	copies  map[*member][]store.Batch
	damaged bool          // a disk has lost something since all were equal
	lead    time.Duration // of the clock that ran ahead the most
	lag     time.Duration // of the one that was behind the most
	users   sync.WaitGroup
	healed  time.Duration
	faults  int
}

// begin makes the world, in which nothing runs yet.
func (s *script) begin(t *testing.T, over fabric) *player {
	w := &player{
		world: newWorldOver(t, over, s.trackers, s.seed), s: s, begun: time.Now(), copies: map[*member][]store.Batch{},
	}
	for _, a := range w.members {
		for _, b := range w.members {
			w.net.slow(a.id, b.id, time.Duration(100+w.rng.IntN(20_000))*time.Microsecond)
		}
	}
	return w
}

// play plays the script, brings the world to rest and checks it.
func (s *script) play(t *testing.T, over fabric) *player {
	w := s.begin(t, over)
	w.start()
	if s.calm {
		w.awaitReady()
	}
	for _, h := range s.events {
		time.Sleep(h.at - time.Since(w.begun))
		m := w.members[int(h.where)%len(w.members)]
		if h.fault == "" {
			w.users.Go(func() { _, _ = m.do(h.act) })
			continue
		}
		w.faults++
		t.Logf("%7.3fs tracker %d: %s", h.at.Seconds(), int(h.where)%len(w.members), h.fault)
		w.fail(h, m)
	}
	w.rest()
	w.verify()
	return w
}

// rest ends all trouble and waits until all are equal.
func (w *player) rest() {
	w.users.Wait()
	w.heal()
	for _, m := range w.members {
		m.offset.Store(0)
		m.disk.setFull(false)
		m.setRoster(infos(w.members))
		for _, other := range w.members {
			w.net.slow(m.id, other.id, time.Millisecond)
		}
	}
	w.start()
	// What is from the future, to whom its clock was behind, waits for its time.
	if w.lag > 4*time.Minute {
		time.Sleep(healTime)
	}
	if w.lead > 4*time.Minute {
		time.Sleep(w.lead)
	}
	w.healed = w.await("all equal", healTime, func() bool { return w.equal() && w.lacking() == "" })
	time.Sleep(time.Second) // what is merged gets to the disks
}

// lacking names an answered change whose manifest is missing somewhere.
func (w *world) lacking() string {
	for i, m := range w.members {
		for _, a := range w.model.acked {
			for _, id := range a.blobs {
				if !m.store.holds(id) {
					return fmt.Sprintf("tracker %d lacks the manifest of %s", i, a.what)
				}
			}
		}
	}
	return ""
}

// verify checks what has to hold at rest.
func (w *player) verify() {
	for i, m := range w.members {
		m.running().View(func(c *catalog.Catalog) {
			for _, wrong := range w.model.check(c) {
				w.t.Errorf("tracker %d: %s", i, wrong)
			}
		})
		disk := m.onDisk()
		if disk.Root().Digest != m.root() {
			w.t.Errorf("tracker %d: its disk has other facts than its catalog", i)
		}
		if w.s.calm && strings.Contains(w.shown(m), "~") {
			w.t.Errorf("tracker %d: a name was given twice though nothing failed: %s", i, w.shown(m))
		}
		if a, b := w.shown(m), w.shown(w.members[0]); a != b {
			w.t.Errorf("names at tracker %d: %s; at tracker 0: %s", i, a, b)
		}
	}
	if w.t.Failed() {
		w.t.Logf("%s", w)
	}
}

// shown lists what people see under which name.
func (w *world) shown(m *member) string {
	var b strings.Builder
	m.running().View(func(c *catalog.Catalog) {
		for n := range uint32(12) {
			u, _ := c.UserNamed(userName(n))
			fmt.Fprintf(&b, "%s=%v ", userName(n), u.ID)
		}
		for g := range c.Groups("") {
			fmt.Fprintf(&b, "%s=%v owner %v ", g.Name, g.ID, g.Owner)
			for f := range c.Files(g.ID, "") {
				fmt.Fprintf(&b, "%s=%v ", f.Name, f.ID)
			}
		}
	})
	return b.String()
}

func (w *player) count(total map[string]int) {
	total["answered"] += w.model.count()
	total["faults"] += w.faults
	total["lost with the only disk"] += w.model.lost
	for code, n := range w.model.refused {
		total[code] += n
	}
}

// String tells how the trackers are.
func (w *world) String() string {
	var b strings.Builder
	b.WriteString(w.last + "\n" + w.lacking() + "\n")
	for i, m := range w.members {
		r := m.running()
		if r == nil {
			fmt.Fprintf(&b, "tracker %d: down\n", i)
			continue
		}
		r.View(func(c *catalog.Catalog) {
			fmt.Fprintf(&b, "tracker %d %s: %d facts, digest %x, %d connected, serving: %v, clock %v\n",
				i, m.id, c.Len(), c.Root().Digest, len(r.Connected()), r.Serving(), time.Duration(m.offset.Load()))
		})
	}
	return b.String()
}
