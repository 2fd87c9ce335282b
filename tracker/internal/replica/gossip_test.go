package replica_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
)

// slowRounds makes nodes that exchange once, at the start: all else is gossip.
func slowRounds(t testing.TB, n int) []*node {
	t.Helper()
	nodes := cluster(t, n)
	for _, nd := range nodes {
		nd.config = func(c *replica.Config) { c.Interval = time.Hour }
	}
	for _, nd := range nodes {
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	return nodes
}

// warmUp writes until what each node writes reaches all others by gossip: a
// mesh takes a heartbeat to form.
func warmUp(t testing.TB, nodes []*node) {
	t.Helper()
	for i, nd := range nodes {
		n := 0
		await(t, "a mesh", func() bool {
			u := userID(fmt.Sprintf("warm%d-%d", i, n))
			n++
			nd.must(func(*catalog.Catalog) []catalog.Draft { return catalog.SetDisabled(u, true) })
			return soon(func() bool { return allHave(nodes, u) })
		})
	}
}

// soon waits a little while until something holds.
func soon(holds func() bool) bool {
	limit, tick := time.NewTimer(50*time.Millisecond), time.NewTicker(time.Millisecond)
	defer limit.Stop()
	defer tick.Stop()
	for !holds() {
		select {
		case <-limit.C:
			return false
		case <-tick.C:
		}
	}
	return true
}

func allHave(nodes []*node, u protocol.UserID) bool {
	k := catalog.SetDisabled(u, true)[0].Key
	return !slices.ContainsFunc(nodes, func(nd *node) (lacks bool) {
		nd.View(func(c *catalog.Catalog) {
			_, ok := c.Get(k)
			lacks = !ok
		})
		return lacks
	})
}

func TestGossipAlone(t *testing.T) {
	t.Parallel()
	nodes := slowRounds(t, 3)
	warmUp(t, nodes)
	for i := range 30 {
		u := userID(fmt.Sprint(i))
		nodes[i%3].must(func(*catalog.Catalog) []catalog.Draft { return catalog.SetDisabled(u, true) })
		await(t, "the change everywhere", func() bool { return allHave(nodes, u) })
	}
}

// TestVerifierStaysOffTheTopic listens on the topic as a tracker of the list
// does, and looks for the verifier in all that comes.
func TestVerifierStaysOffTheTopic(t *testing.T) {
	t.Parallel()
	nodes := cluster(t, 4)
	for _, nd := range nodes[:3] {
		nd.config = func(c *replica.Config) { c.Interval = time.Hour }
	}
	for _, nd := range nodes[:3] {
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes[:3]...)
	spy := nodes[3]
	ps, err := pubsub.NewGossipSub(t.Context(), spy.host, pubsub.WithGossipSubProtocols(
		[]p2pproto.ID{protocol.GossipProtocol},
		func(f pubsub.GossipSubFeature, _ p2pproto.ID) bool {
			return pubsub.GossipSubDefaultFeatures(f, pubsub.GossipSubID_v12)
		}))
	if err != nil {
		t.Fatal(err)
	}
	sub := subscribe(t, ps)
	for _, nd := range nodes[:3] {
		if err := spy.host.Connect(t.Context(), nd.info()); err != nil {
			t.Fatal(err)
		}
	}
	var facts, withheld, leaked atomic.Int32
	go func() {
		for {
			m, err := sub.Next(t.Context())
			if err != nil {
				return
			}
			if bytes.Contains(m.Data, []byte("argon2id")) {
				leaked.Add(1)
			}
			g := new(pb.Gossip)
			if proto.Unmarshal(m.Data, g) == nil {
				facts.Add(int32(len(g.GetFacts())))
				withheld.Add(int32(len(g.GetWithheld())))
			}
		}
	}()
	n := 0
	await(t, "the spy reads the topic", func() bool {
		nodes[0].mustRegister(fmt.Sprintf("user%d", n))
		n++
		return withheld.Load() > 0
	})
	warmUp(t, nodes[:3])
	nodes[0].mustRegister("last")
	// The verifier arrives all the same, at the tracker too that did not confirm
	// it: when the account is there, waiting for the verifier is enough.
	for _, nd := range nodes[:3] {
		await(t, "the account", func() bool { return nd.hasUser("last") })
		await(t, "the verifier", func() (ok bool) {
			nd.AwaitVerifier(t.Context(), userID("last"))
			nd.View(func(c *catalog.Catalog) { _, ok = c.Verifier(userID("last")) })
			return ok
		})
	}
	if leaked.Load() > 0 || facts.Load() == 0 {
		t.Errorf("%d messages with a verifier, %d facts", leaked.Load(), facts.Load())
	}
}

func subscribe(t *testing.T, ps *pubsub.PubSub) *pubsub.Subscription {
	t.Helper()
	topic, err := ps.Join(protocol.StateTopic)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := topic.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// TestStranger has somebody who is not on the list speak floodsub, gossipsub,
// our own protocol, and flood: he reads nothing and nothing of his is taken.
func TestStranger(t *testing.T) {
	t.Parallel()
	ours := pubsub.WithGossipSubProtocols([]p2pproto.ID{protocol.GossipProtocol, pubsub.GossipSubID_v11, pubsub.FloodSubID},
		func(f pubsub.GossipSubFeature, _ p2pproto.ID) bool {
			return pubsub.GossipSubDefaultFeatures(f, pubsub.GossipSubID_v12)
		})
	tests := []struct {
		name string
		open func(ctx context.Context, nd *node) (*pubsub.PubSub, error)
	}{
		{"floodsub", func(ctx context.Context, nd *node) (*pubsub.PubSub, error) {
			return pubsub.NewFloodSub(ctx, nd.host)
		}},
		{"floodsub under our name", func(ctx context.Context, nd *node) (*pubsub.PubSub, error) {
			return pubsub.NewFloodsubWithProtocols(ctx, nd.host, []p2pproto.ID{protocol.GossipProtocol})
		}},
		{"gossipsub", func(ctx context.Context, nd *node) (*pubsub.PubSub, error) {
			return pubsub.NewGossipSub(ctx, nd.host)
		}},
		{"gossipsub under our name, flooding", func(ctx context.Context, nd *node) (*pubsub.PubSub, error) {
			return pubsub.NewGossipSub(ctx, nd.host, ours, pubsub.WithFloodPublish(true), pubsub.WithPeerExchange(true))
		}},
		{"no signature, another author", func(ctx context.Context, nd *node) (*pubsub.PubSub, error) {
			return pubsub.NewGossipSub(ctx, nd.host, ours, pubsub.WithFloodPublish(true),
				pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign))
		}},
	}
	nodes := running(t, 2)
	strangers := cluster(t, len(tests))
	var read atomic.Int32
	topics := make([]*pubsub.Topic, len(tests))
	for i, test := range tests {
		ps, err := test.open(t.Context(), strangers[i])
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if topics[i], err = ps.Join(protocol.StateTopic); err != nil {
			t.Fatal(err)
		}
		sub, err := topics[i].Subscribe()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				m, err := sub.Next(t.Context())
				if err != nil {
					return
				}
				if m.ReceivedFrom != strangers[i].id {
					read.Add(1)
					t.Errorf("%s reads %d bytes", test.name, len(m.Data))
				}
			}
		}()
		for _, nd := range nodes {
			if err := strangers[i].host.Connect(t.Context(), nd.info()); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Long enough for three heartbeats, in which meshes would form.
	begun := time.Now()
	n := 0
	network := nodes[0].Network()
	await(t, "time for meshes", func() bool {
		for i, topic := range topics {
			bad := &pb.Gossip{NetworkId: network[:], Facts: []*pb.Fact{evil(nodes[0], n, i)}}
			data, err := proto.Marshal(bad)
			if err != nil {
				t.Fatal(err)
			}
			if err := topic.Publish(t.Context(), data); err != nil {
				t.Errorf("publish: %v", err)
			}
		}
		nodes[n%2].must(func(*catalog.Catalog) []catalog.Draft { return catalog.SetDisabled(userID(fmt.Sprint(n)), true) })
		n++
		return time.Since(begun) > 3*time.Second
	})
	awaitEqual(t, nodes...)
	if got := nodes[0].facts(); got != n {
		t.Errorf("%d facts, want %d: strangers have injected %d", got, n, got-n)
	}
	if read.Load() > 0 {
		t.Errorf("strangers have read %d messages", read.Load())
	}
	t.Logf("%d changes, %d tries to inject each", n, n)
}

// evil is a fact that only a tracker may make, in a well-formed message.
func evil(nd *node, n, i int) *pb.Fact {
	ds := catalog.SetDisabled(protocol.UserID{0xee, byte(n), byte(n >> 8), byte(i)}, true)
	return &pb.Fact{
		Key: string(ds[0].Key), Value: ds[0].Value,
		Stamp: &pb.Stamp{WallMs: time.Now().UnixMilli(), Origin: nd.id.String()},
	}
}

// TestStrangerOnSync opens sync streams without being on the list.
func TestStrangerOnSync(t *testing.T) {
	nd := running(t, 1)[0]
	nd.mustRegister("ada")
	h, err := libp2p.New(libp2p.NoListenAddrs)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	if err := h.Connect(t.Context(), nd.info()); err != nil {
		t.Fatal(err)
	}
	name, token := "name/user/eve/"+userID("eve").String(), make([]byte, 16)
	for _, req := range []*pb.SyncRequest{
		{Body: &pb.SyncRequest_GetDigests{GetDigests: &pb.GetDigests{}}},
		{Body: &pb.SyncRequest_GetFactIds{GetFactIds: &pb.GetFactIDs{Prefixes: [][]byte{{}}}}},
		{Body: &pb.SyncRequest_GetFacts{GetFacts: &pb.GetFacts{Keys: []string{string(catalog.VerifierKey(userID("ada")))}}}},
		{Body: &pb.SyncRequest_StoreFacts{StoreFacts: &pb.StoreFacts{Facts: []*pb.Fact{evil(nd, 0, 0)}}}},
		{Body: &pb.SyncRequest_ReserveNames{ReserveNames: &pb.ReserveNames{Keys: []string{name}, Token: token}}},
		{Body: &pb.SyncRequest_ReleaseNames{ReleaseNames: &pb.ReleaseNames{Token: token}}},
		{Body: &pb.SyncRequest_GetPresence{GetPresence: &pb.GetPresence{}}},
	} {
		if got, err := rawCall(t, h, nd, req); err == nil {
			t.Errorf("a stranger is answered on %T: %v", req.GetBody(), got)
		}
	}
	if n := nd.facts(); n != 3 {
		t.Errorf("%d facts, want the 3 of ada: a stranger has written", n)
	}
	nd.mustRegister("eve")
}
