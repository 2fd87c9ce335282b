package replica_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

func TestDiskFull(t *testing.T) {
	t.Parallel()
	nodes := cluster(t, 2)
	disk := &faulty{Store: store.NewMem()}
	nodes[0].store = disk
	for _, nd := range nodes {
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	nodes[0].mustRegister("ada")
	before := nodes[0].root()
	disk.set(true)
	for _, name := range []string{"bob", "cleo"} {
		if _, err := nodes[0].register(name, userID(name)); codeOf(err) != protocol.CodeTrackerFull {
			t.Errorf("register %s with a full disk: %v, want E_TRACKER_FULL", name, err)
		}
		if nodes[0].hasUser(name) || nodes[1].hasUser(name) {
			t.Errorf("%s is shown although it could not be stored", name)
		}
	}
	if nodes[0].root() != before {
		t.Error("the catalog differs from what the store holds")
	}
	if nodes[0].Serving() != nil {
		t.Error("reading does not work any more")
	}
	// The other one goes on and tells that nobody else has it.
	if s, err := nodes[1].register("dan", userID("dan")); err != nil || s.On != 1 {
		t.Errorf("at the other tracker: %+v, %v, want on 1", s, err)
	}
	disk.set(false)
	await(t, "writes again", func() bool {
		_, err := nodes[0].register("bob", userID("bob"))
		return err == nil
	})
	awaitEqual(t, nodes...)
	if !nodes[0].hasUser("dan") || !nodes[1].hasUser("bob") {
		t.Error("not all there after room was made")
	}
}

// sly is a store that says once that a commit failed, which is on disk.
type sly struct {
	store.Store
	fail atomic.Bool
}

func (s *sly) Commit(b store.Batch) error {
	if err := s.Store.Commit(b); err != nil || !s.fail.CompareAndSwap(true, false) {
		return err
	}
	return errNoSpace
}

// What a commit has stored that was reported as failed counts from then on, and
// everybody is told.
func TestFailedCommitThatIsOnDisk(t *testing.T) {
	t.Parallel()
	nodes := cluster(t, 2)
	disk := &sly{Store: store.NewMem()}
	nodes[0].store = disk
	for _, nd := range nodes {
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	disk.fail.Store(true)
	if _, err := nodes[0].register("ada", userID("ada")); codeOf(err) != protocol.CodeTrackerFull {
		t.Fatalf("a commit that failed: %v, want E_TRACKER_FULL", err)
	}
	if !nodes[0].hasUser("ada") {
		t.Fatal("what is on disk is not in the catalog")
	}
	for i, nd := range nodes {
		await(t, fmt.Sprintf("tracker %d tells of it", i+1), func() bool {
			nd.mu.Lock()
			defer nd.mu.Unlock()
			return slices.ContainsFunc(nd.changes, func(f catalog.Fact) bool { return strings.HasPrefix(string(f.Key), "user/") })
		})
	}
	await(t, "writes again", func() bool {
		_, err := nodes[0].register("bob", userID("bob"))
		return err == nil
	})
}

// What is refused for the sake of a change that the disk then refuses is refused
// for the disk: that change is not there.
func TestRefusedTogether(t *testing.T) {
	nd := cluster(t, 1)[0]
	disk := &faulty{Store: nd.store}
	held := &heldStore{disk, make(chan struct{}), make(chan struct{})}
	go func() { // to begin with
		<-held.begun
		held.release <- struct{}{}
	}()
	nd.store = held
	nd.start(true)
	nd.awaitReady()
	go func() { _ = nd.Note(t.Context(), "note") }()
	<-held.begun
	var errs [2]error
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = nd.propose(func(c *catalog.Catalog) ([]catalog.Draft, error) {
				if c.Len() > 0 {
					return nil, errNameTaken
				}
				return catalog.SetDisabled(userID("ada"), true), nil
			})
		})
	}
	await(t, "both wait", func() bool { return nd.Queued() == 2 })
	held.release <- struct{}{}
	<-held.begun
	disk.set(true)
	go func() {
		for range held.begun {
			held.release <- struct{}{}
		}
	}()
	defer close(held.begun)
	defer nd.stop()
	held.release <- struct{}{}
	wg.Wait()
	for _, err := range errs {
		if codeOf(err) != protocol.CodeTrackerFull {
			t.Errorf("err = %v, want E_TRACKER_FULL", err)
		}
	}
}

// What refuses changes is told with its reason.
func TestDiskIsTold(t *testing.T) {
	nd := cluster(t, 1)[0]
	full := &faulty{Store: nd.store}
	nd.store = full
	nd.start(true)
	nd.awaitReady()
	if d := nd.Disk(); !d.Since.IsZero() {
		t.Errorf("of a sound disk it says %+v", d)
	}
	full.set(true)
	if _, err := nd.register("ada", userID("ada")); codeOf(err) != protocol.CodeTrackerFull {
		t.Fatalf("register = %v, want E_TRACKER_FULL", err)
	}
	if d := nd.Disk(); time.Since(d.Since) > patience || !errors.Is(d.Err, errNoSpace) {
		t.Errorf("of a full disk it says %+v", d)
	}
}

// A tracker whose disk does not answer, while it does itself, costs the others no
// more than one short wait, and no change its second disk. Once the disk answers
// it is asked again.
func TestOneHungDiskOfThree(t *testing.T) {
	nodes := cluster(t, 3)
	slices.SortFunc(nodes, func(a, b *node) int { return strings.Compare(string(a.id), string(b.id)) })
	disk := &hanging{Store: nodes[0].store} // of the one that is asked first
	nodes[0].store = disk
	for _, nd := range nodes {
		nd.config = func(c *replica.Config) { c.Interval = time.Second }
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	u := nodes[1].mustRegister("ada")
	disk.mu.Lock()
	unlock := sync.OnceFunc(disk.mu.Unlock)
	defer unlock()
	for begun, i := time.Now(), 0; time.Since(begun) < 8*time.Second; i++ {
		at := time.Now()
		s := nodes[1].must(func(*catalog.Catalog) []catalog.Draft { return catalog.SetDisabled(u, i%2 == 0) })
		if took := time.Since(at); took > protocol.ConfirmTimeout-100*time.Millisecond || s.On != 2 {
			t.Errorf("change %d: stored on %d after %v", i, s.On, took)
		}
		time.Sleep(20 * time.Millisecond)
	}
	unlock()
	nodes[2].stop()
	await(t, "stored on the disk that had hung", func() bool {
		return nodes[1].must(func(*catalog.Catalog) []catalog.Draft { return catalog.SetDisabled(u, true) }).On == 2
	})
}

// A tracker whose disk does not answer says so, instead of having clients wait.
func TestHungDiskServesNothing(t *testing.T) {
	t.Parallel()
	nd := cluster(t, 1)[0]
	disk := &hanging{Store: nd.store}
	nd.store = disk
	nd.start(true)
	nd.awaitReady()
	disk.mu.Lock()
	unlock := sync.OnceFunc(disk.mu.Unlock)
	defer unlock()
	stored := make(chan error, 1)
	go func() {
		_, err := nd.register("ada", userID("ada"))
		stored <- err
	}()
	undone := nd.Undone()
	await(t, "the commit is under way", func() bool { return nd.hasUser("ada") })
	if err := nd.OnDisk(t.Context(), undone); codeOf(err) != protocol.CodeBusy {
		t.Errorf("a read that waits for the disk: %v, want E_BUSY", err)
	}
	await(t, "not serving", func() bool { return codeOf(nd.Serving()) == protocol.CodeBusy })
	unlock()
	if err := <-stored; err != nil {
		t.Errorf("the change that was under way: %v", err)
	}
	if err := nd.Serving(); err != nil {
		t.Errorf("once the disk answers: %v", err)
	}
}

// A tracker whose disk does not answer answers confirmations with that: those that
// wait for it would take the places of greetings.
func TestHungDiskTakesNoPlaces(t *testing.T) {
	t.Parallel()
	nodes := cluster(t, 2)
	disk := &hanging{Store: nodes[0].store}
	nodes[0].store = disk
	for _, nd := range nodes {
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	u := nodes[1].mustRegister("ada")
	disk.mu.Lock()
	unlock := sync.OnceFunc(disk.mu.Unlock)
	defer unlock()
	go func() { _ = nodes[0].Note(t.Context(), "note") }()
	await(t, "not serving", func() bool { return codeOf(nodes[0].Serving()) == protocol.CodeBusy })
	var change []catalog.Fact
	nodes[1].must(func(*catalog.Catalog) []catalog.Draft { return catalog.SetDisabled(u, true) })
	nodes[1].View(func(c *catalog.Catalog) {
		f, _ := c.Get(catalog.SetDisabled(u, true)[0].Key)
		change = append(change, f)
	})
	for range 30 { // more than there are places
		if errs := nodes[1].StoreTogether(t.Context(), nodes[0].id, change); codeOf(errs[0]) != protocol.CodeTrackerFull {
			t.Fatalf("a confirmation: %v, want E_TRACKER_FULL", errs[0])
		}
	}
	if nodes[1].standing(nodes[0]) != replica.There {
		t.Error("a tracker that answers is taken for one that is away")
	}
}

// A change that waits for a disk is not made when its caller has gone to another
// tracker meanwhile.
func TestAbandonedChangeIsNotMade(t *testing.T) {
	nodes := running(t, 2)
	u := nodes[1].mustRegister("ada")
	awaitEqual(t, nodes...)
	nodes[0].stop()
	disk := &hanging{Store: nodes[0].store}
	nodes[0].store = disk
	nodes[0].start(false, nodes...)
	awaitConnected(t, nodes...)
	disk.mu.Lock()
	unlock := sync.OnceFunc(disk.mu.Unlock)
	defer unlock()
	begun := disk.begun.Load()
	go func() { _ = nodes[0].Note(t.Context(), "note") }()
	await(t, "a commit is under way", func() bool { return disk.begun.Load() > begun })
	disable := func(ctx context.Context, at *node, yes bool) error {
		_, err := at.Propose(ctx, replica.Proposal{Build: func(*catalog.Catalog) ([]catalog.Draft, error) {
			return catalog.SetDisabled(u, yes), nil
		}})
		return err
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	abandoned := make(chan error, 1)
	go func() { abandoned <- disable(ctx, nodes[0], true) }()
	await(t, "it waits", func() bool { return nodes[0].Queued() > 0 })
	leave()
	for _, yes := range []bool{true, false} {
		if err := disable(t.Context(), nodes[1], yes); err != nil {
			t.Fatal(err)
		}
	}
	unlock()
	if err := <-abandoned; !errors.Is(err, context.Canceled) {
		t.Errorf("the abandoned change: %v, want that it was not made", err)
	}
	awaitEqual(t, nodes...)
	nodes[1].View(func(c *catalog.Catalog) {
		if ada, _ := c.User(u); ada.Disabled {
			t.Error("what was answered last was undone")
		}
	})
}
