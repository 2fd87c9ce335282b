package replica_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	p2pproto "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// seldom keeps the rounds of exchange out of a test, but for those that
// something asks for.
func seldom(c *replica.Config) { c.Interval = time.Hour }

// withoutGossip starts nodes that hear nothing of each other's gossip.
func withoutGossip(t *testing.T, nodes []*node) []*node {
	t.Helper()
	for _, nd := range nodes {
		nd.config = seldom
		nd.start(true) // alone, so that nobody has a stream yet
		nd.awaitReady()
		nd.host.RemoveStreamHandler(p2pproto.ID(protocol.GossipProtocol))
	}
	for _, nd := range nodes {
		nd.SetRoster(infos(nodes))
	}
	awaitConnected(t, nodes...)
	return nodes
}

// A tracker that gossip did not reach learns what the others know when somebody asks.
func TestCatchUp(t *testing.T) {
	nodes := withoutGossip(t, cluster(t, 3))
	// A change goes here and to one of the others, but the rounds that began with
	// the connections may take it to the third.
	name, i, tries := "", -1, 0
	await(t, "a tracker has not heard of a change", func() bool {
		tries++
		name = fmt.Sprint("user", tries)
		nodes[0].mustRegister(name)
		i = slices.IndexFunc(nodes, func(nd *node) bool { return !nd.hasUser(name) })
		return i >= 0
	})
	nodes[i].CatchUp(t.Context())
	if !nodes[i].hasUser(name) {
		t.Error("the account has not come")
	}
	for _, nd := range nodes {
		nd.stop()
		nd.CatchUp(t.Context()) // ends all the same
	}
}

// Many who come at once share a few rounds.
func TestCatchUpIsShared(t *testing.T) {
	nodes := withoutGossip(t, cluster(t, 2))
	before := nodes[0].syncBytes()
	nodes[0].CatchUp(t.Context())
	one := nodes[0].syncBytes() - before
	const callers = 200
	done := make(chan struct{}, callers)
	before = nodes[0].syncBytes()
	for range callers {
		go func() { nodes[0].CatchUp(t.Context()); done <- struct{}{} }()
	}
	for range callers {
		<-done
	}
	if took := nodes[0].syncBytes() - before; took > callers/4*one {
		t.Errorf("%d callers cost %d bytes, one %d", callers, took, one)
	}
}

// What a proposal finds done is called stored elsewhere only if it is.
func TestEmptyProposalTellsTheTruth(t *testing.T) {
	nodes := cluster(t, 2)
	full := &faulty{Store: nodes[1].store}
	nodes[1].store = full
	for _, nd := range nodes {
		nd.config = seldom
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	full.set(true)
	if s, err := nodes[0].register("ada", userID("ada")); err != nil || s.On != 1 {
		t.Fatalf("Stored = %+v, %v, want on 1: the other disk is full", s, err)
	}
	if s, err := nodes[0].register("ada", userID("ada")); err != nil || s.On != 1 {
		t.Errorf("the same again: Stored = %+v, %v, want on 1: the other disk is full", s, err)
	}
	full.set(false)
	await(t, "the other takes changes again", func() bool {
		_, err := nodes[1].register("bob", userID("bob"))
		return err == nil
	})
	await(t, "stored on both", func() bool {
		s, err := nodes[0].register("ada", userID("ada"))
		if err != nil {
			t.Fatal(err)
		}
		if s.On == 2 && !nodes[1].hasUser("ada") {
			t.Fatal("said to be stored where it is not")
		}
		return s.On == 2
	})
}

// slow is a store whose commits take a while.
type slow struct {
	store.Store
	took time.Duration
}

func (s slow) Commit(b store.Batch) error {
	time.Sleep(s.took)
	return s.Store.Commit(b)
}

// A proposal that finds everything done does not wait until the writers are: their
// changes are always on the way, so that roots are never equal.
func TestEmptyProposalUnderLoad(t *testing.T) {
	const commit = 20 * time.Millisecond
	nodes := cluster(t, 2)
	for _, nd := range nodes {
		nd.store = slow{nd.store, commit}
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	nodes[0].mustRegister("ada")
	await(t, "equal roots are seen", func() bool {
		s, err := nodes[0].register("ada", userID("ada"))
		return err == nil && s.On == 2
	})
	alone := unloaded(nodes[0])
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var written atomic.Int32
	for i := range 16 {
		wg.Go(func() {
			for n := byte(0); ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				nodes[i%2].must(func(*catalog.Catalog) []catalog.Draft {
					return catalog.SetDisabled(protocol.UserID{byte(i), n, 1}, true)
				})
				written.Add(1)
			}
		})
	}
	await(t, "the load", func() bool { return written.Load() > 32 })
	var took []time.Duration
	for range 20 {
		time.Sleep(rand.N(3 * commit)) // at any point of a commit
		begun := time.Now()
		s, err := nodes[0].register("ada", userID("ada"))
		took = append(took, time.Since(begun))
		if err != nil || s.On != 2 {
			t.Errorf("Stored = %+v, %v, want on 2", s, err)
		}
	}
	close(stop)
	wg.Wait()
	slices.Sort(took)
	t.Logf("median %v, longest %v, a change without load %v", took[10], took[19], alone)
	// A commit here, and one or two at the other tracker, each behind one that runs;
	// without load, one at each.
	if took[10] > 6*alone {
		t.Errorf("half of them waited %v or longer, a change without load takes %v", took[10], alone)
	}
}

// unloaded is how long a change takes while there are no others, on a machine as
// busy as this one.
func unloaded(nd *node) time.Duration {
	var took []time.Duration
	for n := range byte(5) {
		begun := time.Now()
		nd.must(func(*catalog.Catalog) []catalog.Draft { return catalog.SetDisabled(protocol.UserID{99, n, 1}, true) })
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// A client that goes away while its change is being confirmed leaves no doubt
// behind: the change is confirmed all the same.
func TestWhoGoesAwayLeavesNoDoubt(t *testing.T) {
	nodes := cluster(t, 2)
	disk := &heldStore{nodes[1].store, make(chan struct{}, 100), make(chan struct{}, 100)}
	nodes[1].store = disk
	for range 20 { // to begin with
		disk.release <- struct{}{}
	}
	for _, nd := range nodes {
		nd.config = seldom
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	nodes[0].mustRegister("ada")
	await(t, "equal roots are seen", func() bool {
		s, err := nodes[0].register("ada", userID("ada"))
		return err == nil && s.On == 2
	})
	for len(disk.release) > 0 {
		<-disk.release
	}
	for len(disk.begun) > 0 {
		<-disk.begun
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan replica.Stored, 1)
	go func() {
		s, err := nodes[0].Propose(ctx, replica.Proposal{Build: func(*catalog.Catalog) ([]catalog.Draft, error) {
			return catalog.SetDisabled(userID("ada"), true), nil
		}})
		if err != nil {
			t.Error(err)
		}
		done <- s
	}()
	<-disk.begun // it is on the first disk, and at the second
	cancel()
	time.Sleep(20 * time.Millisecond)
	close(disk.release)
	if s := <-done; s.On != 2 || !nodes[0].IsLevel() {
		t.Errorf("stored on %d, and everything known to be on both: %v; want 2, true", s.On, nodes[0].IsLevel())
	}
}

// What one tracker alone has confirmed is not called stored on others once it is lost.
func TestEmptyProposalAfterALoss(t *testing.T) {
	nodes := cluster(t, 3)
	for _, nd := range nodes {
		nd.config = seldom
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	nodes[0].mustRegister("ada")
	await(t, "equal catalogs", func() bool {
		nodes[1].CatchUp(t.Context()) // gossip may be lost, and rounds are seldom
		nodes[2].CatchUp(t.Context())
		return nodes[1].root() == nodes[0].root() && nodes[2].root() == nodes[0].root()
	})
	nodes[1].stop()
	nodes[2].stop()
	await(t, "both are lost", func() bool { return len(nodes[0].Connected()) == 0 })
	if s, err := nodes[0].register("ada", userID("ada")); err != nil || s.On != 1 {
		t.Errorf("Stored = %+v, %v, want on 1: nobody else is there", s, err)
	}
	blank := nodes[1]
	blank.store = store.NewMem()
	blank.start(false, nodes...)
	await(t, "stored on both", func() bool {
		s, err := nodes[0].register("ada", userID("ada"))
		if err != nil {
			t.Fatal(err)
		}
		if s.On == 2 && !blank.hasUser("ada") {
			t.Fatal("said to be stored where it is not")
		}
		return s.On == 2
	})
}

// A lease that is too long for gossip is fetched at once, not in some later round.
func TestLongLeaseTravelsAtOnce(t *testing.T) {
	nodes := cluster(t, 2)
	tables := make([]*fakePresence, len(nodes))
	for i, nd := range nodes {
		tables[i] = newPresence(uint64(i + 1))
		nd.config = func(c *replica.Config) {
			seldom(c)
			c.Presence = tables[i]
		}
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	first := nodes[0].id.String()
	await(t, "the empty list", func() bool { return tables[1].of(first) != nil })
	lease := &pb.Lease{PeerId: "big"}
	for i := range protocol.MaxElements {
		lease.Offers = append(lease.Offers, &pb.Offer{GroupId: make([]byte, 16), FileId: bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 16)})
	}
	nodes[0].SpreadPresence(tables[0].add(lease))
	await(t, "the lease", func() bool { return len(tables[1].of(first).GetLeases()) == 1 })
}

// Facts that end leave the root that others are shown.
func TestRootFollowsExpiry(t *testing.T) {
	nodes := cluster(t, 2)
	var clock clockOffset
	for _, nd := range nodes {
		nd.config = func(c *replica.Config) { c.Now = clock.now }
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	u := nodes[0].mustRegister("ada")
	empty := nodes[0].root()
	nodes[0].must(func(*catalog.Catalog) []catalog.Draft {
		return catalog.NewSession(u, catalog.Session{ID: protocol.SessionID{1}, Until: time.Now().Add(time.Minute).UnixMilli()})
	})
	awaitEqual(t, nodes...)
	clock.set(10 * time.Minute)
	await(t, "the session is out of the digests", func() bool { return nodes[0].root() == empty && nodes[1].root() == empty })
	if s, err := nodes[0].register("ada", u); err != nil || s.On != 2 {
		t.Errorf("Stored = %+v, %v, want on 2: the catalogs are equal", s, err)
	}
}
