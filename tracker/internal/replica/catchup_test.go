package replica_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	p2pproto "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
)

// seldom keeps the rounds of exchange out of a test, but for those that
// something asks for.
func seldom(c *replica.Config) { c.Interval = time.Hour }

// withoutGossip starts nodes that hear nothing of each other's gossip.
func withoutGossip(t *testing.T, n int) []*node {
	t.Helper()
	nodes := cluster(t, n)
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
	nodes := withoutGossip(t, 3)
	nodes[0].mustRegister("ada") // here and at one of the others
	i := slices.IndexFunc(nodes, func(nd *node) bool { return !nd.hasUser("ada") })
	if i < 0 {
		t.Fatal("all trackers have the change, so this shows nothing")
	}
	nodes[i].CatchUp(t.Context())
	if !nodes[i].hasUser("ada") {
		t.Error("the account has not come")
	}
	for _, nd := range nodes {
		nd.stop()
		nd.CatchUp(t.Context()) // ends all the same
	}
}

// Many who come at once share a few rounds.
func TestCatchUpIsShared(t *testing.T) {
	nodes := withoutGossip(t, 2)
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
