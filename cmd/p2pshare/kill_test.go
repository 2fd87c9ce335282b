package main_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/roster"
)

const (
	// restartTime is how soon a killed tracker serves again, busyRestartTime how
	// soon beside all other tests.
	restartTime     = 3 * time.Second
	busyRestartTime = 30 * time.Second
	// groupSize is how many files go into one group before the next one: listing
	// them is a part of every round.
	groupSize = 400
	// userShares is how much one user shares before the next one does: far enough
	// from the limit for all that is stored and not answered.
	userShares = protocol.MaxSharesPerUser / 2
)

// killed is a network whose trackers are killed under load: a writer or more at
// each tracker, who knows what that one has answered.
type killed struct {
	*network
	flags   []string
	callers []*caller
	group   string // the present one
	groupID []byte
	groups  int
	users   int
	shared  int // by the present user, answered
	total   int

	mu       sync.Mutex
	answered []map[string]uint32 // by tracker: files of the present group, and on how many trackers they are
	killing  bool                // from now on a writer may fail
	refused  error               // what one was told before that
}

func newKilled(t *testing.T, trackers int) *killed {
	t.Helper()
	k := &killed{network: newNetwork(t, trackers), flags: []string{
		"--limit", "ops=off", "--limit", "calls=off", "--limit", "manifest-bytes=off",
	}}
	k.ctx = t.Context() // long runs take longer than a network's three minutes
	for i := range k.trackers {
		k.trackers[i].Kill()
	}
	k.restart(k.all())
	list, err := roster.Read(k.Info)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		k.callers = append(k.callers, newCaller(t, e))
	}
	k.nextUser()
	return k
}

// nextUser has all callers be a new user, who is at no limit.
func (k *killed) nextUser() {
	k.t.Helper()
	k.users++
	k.shared = 0
	name := fmt.Sprintf("ada%d", k.users)
	if err := k.callers[0].register(k.ctx, name); err != nil {
		k.t.Fatal(err)
	}
	for _, c := range k.callers {
		k.eventually(name+" logs in everywhere", func() bool { return c.login(k.ctx, name) == nil })
	}
}

func (k *killed) all() (out []int) {
	for i := range k.trackers {
		out = append(out, i)
	}
	return out
}

// restart starts trackers one after another, so that the first finds nobody, and
// returns how long the slowest took to serve.
func (k *killed) restart(which []int) (slowest time.Duration) {
	k.t.Helper()
	for _, i := range which {
		begun := time.Now()
		p, err := k.Tracker(k.ctx, i+1, k.flags...)
		if err != nil {
			k.t.Fatal(err)
		}
		k.trackers[i] = p
		slowest = max(slowest, time.Since(begun))
	}
	return slowest
}

// nextGroup gives each tracker's caller a group that it may share in.
func (k *killed) nextGroup() {
	k.t.Helper()
	if k.shared > userShares {
		k.nextUser()
	}
	k.groups++
	k.group = fmt.Sprintf("group %d", k.groups)
	var err error
	if k.groupID, err = k.callers[0].createGroup(k.ctx, k.group); err != nil {
		k.t.Fatal(err)
	}
	k.answered = nil
	for range k.trackers {
		k.answered = append(k.answered, map[string]uint32{})
	}
	k.eventually("every tracker knows the group", func() bool {
		return !slices.ContainsFunc(k.callers, func(c *caller) bool { _, err := c.files(k.ctx, k.group); return err != nil })
	})
}

// load writes at all trackers until some changes are answered, kills the
// victims in the middle, and waits until the writers have noticed.
func (k *killed) load(round int, victims []int, changes int) {
	const writers = 3
	var wg sync.WaitGroup
	enough, dead := make(chan struct{}), make(chan struct{})
	left := changes
	k.refused, k.killing = nil, false
	for i, c := range k.callers {
		for j := range writers {
			wg.Go(func() {
				for n := 0; ; n++ {
					file := fmt.Sprintf("%d-%d-%d-%d", round, i, j, n)
					on, err := c.share(k.ctx, k.groupID, k.group, file)
					if err != nil {
						k.refusal(err)
						break // its tracker is gone
					}
					k.mu.Lock()
					k.answered[i][file] = on
					if left--; left == 0 {
						close(enough)
					}
					k.mu.Unlock()
					select {
					case <-dead:
						if !slices.Contains(victims, i) && n > 0 {
							return
						}
					default:
					}
				}
				select {
				case <-dead:
				case <-enough:
				}
			})
		}
	}
	select {
	case <-enough:
	case <-time.After(10 * time.Second):
		k.t.Errorf("round %d: fewer than %d changes were answered in 10 s", round, changes)
	}
	k.mu.Lock()
	k.killing = true
	if k.refused != nil {
		k.t.Errorf("round %d: a change was refused before the kill: %v", round, k.refused)
	}
	k.mu.Unlock()
	for _, i := range victims {
		k.trackers[i].Kill()
	}
	close(dead)
	wg.Wait()
}

// refusal notes the first reason why a writer was not answered before the kill.
func (k *killed) refusal(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.killing && k.refused == nil {
		k.refused = err
	}
}

// check looks for everything that was answered.
func (k *killed) check(round int) {
	k.t.Helper()
	for i, c := range k.callers {
		have, err := c.files(k.ctx, k.group)
		if err != nil {
			k.t.Fatalf("round %d: list files at tracker %d: %v", round, i+1, err)
		}
		for from, files := range k.answered {
			for file, on := range files {
				if !have[file] && (from == i || int(on) == len(k.trackers)) {
					k.t.Fatalf("round %d: tracker %d does not have %s, which tracker %d has answered as stored on %d", round, i+1, file, from+1, on)
				}
			}
		}
	}
}

func (k *killed) run(rounds int, restartTime time.Duration) {
	rng := rand.New(rand.NewPCG(uint64(rounds), rand.Uint64()))
	var slowest time.Duration
	for round := range rounds {
		if k.group == "" || len(k.answered[0]) > groupSize {
			k.settle()
			k.nextGroup()
		}
		victims := []int{rng.IntN(len(k.trackers))}
		if rng.IntN(3) == 0 {
			victims = rng.Perm(len(k.trackers))
		}
		k.load(round, victims, 1+rng.IntN(30))
		took := k.restart(victims)
		slowest = max(slowest, took)
		if took > restartTime {
			k.t.Errorf("round %d: a killed tracker took %v to serve again", round, took)
		}
		k.check(round)
	}
	k.settle()
	k.t.Logf("%d kills, %d answered changes, at most %v to serve again", rounds, k.total, slowest.Round(time.Millisecond))
}

// settle waits until all trackers hold all that any of them has answered.
func (k *killed) settle() {
	k.t.Helper()
	all := map[string]uint32{}
	for _, files := range k.answered {
		maps.Copy(all, files)
	}
	k.total += len(all)
	k.shared += len(all)
	for i, c := range k.callers {
		k.eventually(fmt.Sprintf("tracker %d has all of %s", i+1, k.group), func() bool {
			have, err := c.files(k.ctx, k.group)
			for file := range all {
				if err != nil || !have[file] {
					return false
				}
			}
			return true
		})
	}
}

// What a tracker has answered survives that it is killed under load, alone and
// beside another one, and it serves again soon.
func TestKilledTrackersLoseNothing(t *testing.T) {
	apart(t)
	for _, trackers := range []int{1, 2} {
		t.Run(fmt.Sprint(trackers), func(t *testing.T) {
			t.Parallel()
			newKilled(t, trackers).run(5, busyRestartTime)
		})
	}
}

func TestLongKilledTrackersLoseNothing(t *testing.T) {
	long(t)
	for _, trackers := range []int{1, 2} {
		t.Run(fmt.Sprint(trackers), func(t *testing.T) { newKilled(t, trackers).run(500, restartTime) })
	}
}
