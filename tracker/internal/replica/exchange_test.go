package replica_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

func TestPartitionHeals(t *testing.T) {
	nodes := running(t, 3)
	nodes[0].mustRegister("ada")
	awaitEqual(t, nodes...)
	left, right := nodes[:1], nodes[1:]
	cut(left, right)
	await(t, "cut noticed", func() bool { return len(nodes[0].Connected()) == 0 && len(nodes[1].Connected()) == 1 })
	for i := range 20 {
		nodes[0].mustRegister(fmt.Sprintf("left%d", i))
		nodes[1+i%2].mustRegister(fmt.Sprintf("right%d", i))
	}
	if nodes[0].hasUser("right3") || nodes[1].hasUser("left3") {
		t.Fatal("the cut leaks")
	}
	heal(left, right)
	awaitEqual(t, nodes...)
	for i := range 20 {
		for _, nd := range nodes {
			if !nd.hasUser(fmt.Sprintf("left%d", i)) || !nd.hasUser(fmt.Sprintf("right%d", i)) {
				t.Fatalf("an answered registration is lost")
			}
		}
	}
}

// TestRemovalBeatsAcrossCut removes a member on one side of a cut and does
// everything to keep him on the other.
func TestRemovalBeatsAcrossCut(t *testing.T) {
	nodes := running(t, 2)
	owner, member, g := nodes[0].mustRegister("owner"), nodes[0].mustRegister("member"), groupID(1)
	nodes[0].must(func(*catalog.Catalog) []catalog.Draft { return catalog.NewGroup(g, "group", owner) })
	grant := func(c *catalog.Catalog) []catalog.Draft { return c.Grant(g, member) }
	nodes[0].must(grant)
	awaitEqual(t, nodes...)
	cut(nodes[:1], nodes[1:])
	await(t, "cut noticed", func() bool { return len(nodes[0].Connected())+len(nodes[1].Connected()) == 0 })
	remove := func(nd *node) {
		nd.must(func(c *catalog.Catalog) []catalog.Draft { return c.Remove(g, member, nd.id.String()) })
	}
	remove(nodes[0])
	for range 3 {
		remove(nodes[1])
		nodes[1].must(grant)
	}
	heal(nodes[:1], nodes[1:])
	awaitEqual(t, nodes...)
	for i, nd := range nodes {
		nd.View(func(c *catalog.Catalog) {
			if c.IsMember(g, member) {
				t.Errorf("tracker %d: the removed member is one again", i+1)
			}
		})
	}
}

// TestRandomWrites has three trackers write at random while links are cut and
// healed, one of them restarts, and compares at the end.
func TestRandomWrites(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	nodes := running(t, 3)
	owner, g := nodes[0].mustRegister("owner"), groupID(1)
	nodes[0].must(func(*catalog.Catalog) []catalog.Draft { return catalog.NewGroup(g, "group", owner) })
	awaitEqual(t, nodes...)
	for step := range 150 {
		nd := nodes[rng.IntN(3)]
		if !nd.started {
			nd.start(false, nodes...)
		}
		u := userID(fmt.Sprintf("user%d", rng.IntN(8)))
		var err error
		switch n := rng.IntN(20); {
		case n < 6:
			_, err = nd.register(fmt.Sprintf("u%d-%d", step, rng.IntN(8)), protocol.UserID{byte(step), byte(rng.IntN(200)), 9})
		case n < 10:
			_, err = nd.propose(func(c *catalog.Catalog) ([]catalog.Draft, error) { return c.Grant(g, u), nil })
		case n < 14:
			_, err = nd.propose(func(c *catalog.Catalog) ([]catalog.Draft, error) {
				return c.Remove(g, u, nd.id.String()), nil
			})
		case n < 17:
			_, err = nd.propose(func(*catalog.Catalog) ([]catalog.Draft, error) {
				return catalog.SetDisabled(u, rng.IntN(2) == 0), nil
			})
		case n < 18:
			i := rng.IntN(3)
			if nodes[i].started && nodes[(i+1)%3].started {
				cut(nodes[i:i+1], []*node{nodes[(i+1)%3]})
			}
		case n < 19:
			for _, a := range nodes {
				for _, b := range nodes {
					if a != b && a.started && b.started {
						a.block(b, false)
					}
				}
			}
		default:
			nd.stop()
		}
		if err != nil && codeOf(err) != protocol.CodeBusy && codeOf(err) != protocol.CodeExists {
			t.Fatalf("step %d: %v", step, err)
		}
	}
	for _, nd := range nodes {
		if !nd.started {
			nd.start(false, nodes...)
		}
	}
	heal(nodes, nodes)
	awaitEqual(t, nodes...)
}

func TestBlankCatchesUp(t *testing.T) {
	nodes := cluster(t, 2)
	nodes[1].start(false, nodes...)
	if err := nodes[1].Serving(); codeOf(err) != protocol.CodeBusy {
		t.Errorf("a blank tracker serves: %v", err)
	}
	if _, err := nodes[1].register("eve", userID("eve")); codeOf(err) != protocol.CodeBusy {
		t.Errorf("a blank tracker takes a registration: %v", err)
	}
	if !nodes[1].Network().IsZero() {
		t.Error("a blank tracker has a network id")
	}
	nodes[0].start(true, nodes...)
	nodes[0].awaitReady()
	nodes[0].mustRegister("ada")
	nodes[1].awaitReady()
	if nodes[1].Network() != nodes[0].Network() {
		t.Errorf("networks %v and %v", nodes[0].Network(), nodes[1].Network())
	}
	awaitEqual(t, nodes...)
	if !nodes[1].hasUser("ada") {
		t.Error("the blank tracker did not catch up")
	}
	if id, err := nodes[1].store.Meta("network"); err != nil || len(id) != 16 {
		t.Errorf("stored network id %x, %v", id, err)
	}
}

func TestNewNetworkJoinsOneThatExists(t *testing.T) {
	nodes := cluster(t, 3)
	nodes[0].start(true, nodes[:2]...)
	nodes[0].awaitReady()
	nodes[0].SetRoster(infos(nodes))
	nodes[2].config = func(cfg *replica.Config) { cfg.NewNetwork = protocol.NetworkID{2} }
	nodes[2].start(true, nodes...)
	nodes[2].awaitReady()
	if nodes[2].Network() != nodes[0].Network() {
		t.Errorf("networks %v and %v, want one", nodes[0].Network(), nodes[2].Network())
	}
}

func TestOtherNetworkIsLeftAlone(t *testing.T) {
	nodes := cluster(t, 2)
	nodes[1].config = func(cfg *replica.Config) { cfg.NewNetwork = protocol.NetworkID{2} }
	nodes[0].start(true)
	nodes[1].start(true)
	for _, nd := range nodes {
		nd.awaitReady()
	}
	nodes[0].mustRegister("ada")
	for _, nd := range nodes {
		nd.SetRoster(infos(nodes))
	}
	await(t, "they have talked", func() bool { return nodes[0].syncBytes() > 1_000 && nodes[1].syncBytes() > 1_000 })
	nodes[1].mustRegister("bob")
	if len(nodes[0].Connected())+len(nodes[1].Connected()) != 0 || nodes[0].hasUser("bob") || nodes[1].hasUser("ada") {
		t.Error("two networks mix")
	}
}

func TestLateJoiner(t *testing.T) {
	const n = 10_000
	nodes := cluster(t, 2)
	nodes[0].start(true, nodes...)
	nodes[0].awaitReady()
	for i := 0; i < n; i += 500 {
		nodes[0].must(func(*catalog.Catalog) (ds []catalog.Draft) {
			for j := i; j < i+500; j++ {
				ds = append(ds, catalog.SetDisabled(protocol.UserID{byte(j), byte(j >> 8), 1}, true)...)
			}
			return ds
		})
	}
	begun := time.Now()
	nodes[1].start(false, nodes...)
	nodes[1].awaitReady()
	t.Logf("%d facts in %v", n, time.Since(begun))
	if nodes[1].facts() != n || nodes[1].root() != nodes[0].root() {
		t.Errorf("%d facts after it was ready, want %d and the same root", nodes[1].facts(), n)
	}
}

// TestLargeUnit exchanges the shares of one user in one group, which are one
// unit of the digest tree and many frames.
func TestLargeUnit(t *testing.T) {
	const n = 3_000
	nodes := cluster(t, 2)
	nodes[0].start(true, nodes...)
	nodes[0].awaitReady()
	u, g := nodes[0].mustRegister("ada"), groupID(1)
	nodes[0].must(func(*catalog.Catalog) []catalog.Draft { return catalog.NewGroup(g, "group", u) })
	for i := 0; i < n; i += 500 {
		nodes[0].must(func(c *catalog.Catalog) (ds []catalog.Draft) {
			for j := i; j < i+500; j++ {
				s := catalog.Share{Group: g, File: protocol.FileID{byte(j), byte(j >> 8)}, User: u, Peer: "client"}
				ds = append(ds, c.ShareFile(s, manifest(t, "f"), 100)[1:2]...) // the share alone
			}
			return ds
		})
	}
	nodes[1].start(false, nodes...)
	nodes[1].awaitReady()
	if nodes[1].root() != nodes[0].root() {
		t.Errorf("%d facts, want %d", nodes[1].facts(), nodes[0].facts())
	}
}

// A round between equal trackers costs the same whatever they hold.
func TestEqualRoundIsCheap(t *testing.T) {
	for _, facts := range []int{10, 20_000} {
		t.Run(fmt.Sprint(facts, " facts"), func(t *testing.T) {
			t.Parallel()
			equalRound(t, facts)
		})
	}
}

func equalRound(t *testing.T, facts int) {
	const interval = 200 * time.Millisecond
	nodes := cluster(t, 2)
	for _, nd := range nodes {
		nd.config = func(c *replica.Config) { c.Interval = interval }
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	for i := 0; i < facts; i += 500 {
		nodes[0].must(func(*catalog.Catalog) (ds []catalog.Draft) {
			for j := i; j < min(i+500, facts); j++ {
				ds = append(ds, catalog.SetDisabled(protocol.UserID{byte(j), byte(j >> 8), 1}, true)...)
			}
			return ds
		})
	}
	awaitEqual(t, nodes...)
	// What was under way when they became equal is not meant: it ends soon, and
	// from then on every ten rounds have to be cheap.
	window := func() (each float64) {
		time0, bytes0 := time.Now(), nodes[0].syncBytes()
		await(t, "some rounds", func() bool { return time.Since(time0) > 10*interval && nodes[0].syncBytes() > bytes0 })
		// On a busy machine there are fewer rounds than this, never more.
		return float64(nodes[0].syncBytes()-bytes0) / (2 * float64(time.Since(time0)) / float64(interval))
	}
	for deadline := time.Now().Add(patience); window() > 1_000; {
		if time.Now().After(deadline) {
			t.Fatal("rounds between equal trackers stay costly")
		}
	}
	each := window()
	t.Logf("%d facts: %.0f bytes a round", nodes[0].facts(), each)
	if each > 1_000 {
		t.Errorf("a round between equal trackers costs %.0f bytes, want below 1,000", each)
	}
}

func TestReadsOldStores(t *testing.T) {
	nd := cluster(t, 1)[0]
	if err := nd.store.Commit(store.Batch{Put: []store.Record{{Key: "user/x", Value: []byte{9}}}}); err != nil {
		t.Fatal(err)
	}
	_, err := replica.Open(replica.Config{Host: nd.host, Store: nd.store})
	if codeOf(err) != protocol.CodeState {
		t.Errorf("Open with a damaged record: %v, want E_STATE", err)
	}
}

func TestInStep(t *testing.T) {
	nodes := running(t, 2)
	await(t, "two exchanges", func() bool {
		first := nodes[0].Others()[0].InStep
		return !first.IsZero() && first.After(nodes[1].Others()[0].InStep)
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	nodes[0].AwaitVerifier(ctx, userID("nobody"))
}

// TestSameStampOtherValue gives two trackers facts of one key and stamp with
// different values, as no tracker in its right mind makes them.
func TestSameStampOtherValue(t *testing.T) {
	nodes := cluster(t, 3)
	for _, nd := range nodes[:2] {
		nd.start(true, nodes...)
		nd.awaitReady()
	}
	awaitConnected(t, nodes[:2]...)
	cut(nodes[:1], nodes[1:2])
	from, stamp := nodes[2].host, &pb.Stamp{WallMs: time.Now().UnixMilli(), Origin: nodes[2].id.String()}
	for i, nd := range nodes[:2] {
		if err := from.Connect(t.Context(), nd.info()); err != nil {
			t.Fatal(err)
		}
		d := catalog.SetDisabled(userID("ada"), i == 0)[0]
		reply, err := rawCall(t, from, nd, &pb.SyncRequest{Body: &pb.SyncRequest_StoreFacts{StoreFacts: &pb.StoreFacts{
			Facts: []*pb.Fact{{Key: string(d.Key), Value: d.Value, Stamp: stamp}},
		}}})
		if err != nil || reply.GetStored() == nil {
			t.Fatalf("not stored: %v, %v", reply, err)
		}
	}
	if nodes[0].root() == nodes[1].root() {
		t.Fatal("the digests do not show the difference")
	}
	heal(nodes[:1], nodes[1:2])
	awaitEqual(t, nodes[:2]...)
}
