package replica_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
)

// rawCall speaks the sync protocol by hand.
func rawCall(t *testing.T, from host.Host, to *node, req *pb.SyncRequest) (*pb.SyncReply, error) {
	t.Helper()
	b, err := wire.Append(nil, req)
	if err != nil {
		t.Fatal(err)
	}
	return rawBytes(t, from, to, b)
}

func rawBytes(t *testing.T, from host.Host, to *node, b []byte) (*pb.SyncReply, error) {
	t.Helper()
	s, err := from.NewStream(t.Context(), to.id, protocol.SyncProtocol)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Reset() }()
	if err := s.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(b); err != nil {
		return nil, err
	}
	reply := new(pb.SyncReply)
	return reply, wire.NewReader(s, protocol.MaxSync).Read(reply)
}

// share makes a group with one shared file, whose manifest comes along.
func share(t *testing.T, nd *node, size int) (protocol.FileID, []byte) {
	t.Helper()
	m := manifest(t, "file.bin")
	m.Size = int64(size)
	length, err := protocol.PieceLengthFor(m.Size)
	if err != nil {
		t.Fatal(err)
	}
	m.PieceLength = length
	m.Pieces = make([]protocol.PieceHash, protocol.PieceCount(m.Size, m.PieceLength))
	for i := range m.Pieces {
		_, _ = rand.Read(m.Pieces[i].BLAKE3[:])
	}
	b := m.Encode()
	u, g, id := nd.mustRegister("owner"), groupID(1), protocol.ManifestID(b)
	nd.must(func(*catalog.Catalog) []catalog.Draft { return catalog.NewGroup(g, "group", u) })
	_, err = nd.Propose(t.Context(), replica.Proposal{
		Build: func(c *catalog.Catalog) ([]catalog.Draft, error) {
			return c.ShareFile(catalog.Share{Group: g, File: id, User: u, Peer: "client"}, m, int64(len(b))), nil
		},
		Blobs: map[protocol.FileID][]byte{id: b},
	})
	if err != nil {
		t.Fatal(err)
	}
	return id, b
}

func hasBlob(t *testing.T, nd *node, id protocol.FileID, want []byte) bool {
	t.Helper()
	b, ok, err := nd.store.Blob(id)
	if err != nil {
		t.Fatal(err)
	}
	return ok && bytes.Equal(b, want)
}

func TestManifestIsConfirmedWithItsFile(t *testing.T) {
	nodes := running(t, 2)
	id, b := share(t, nodes[0], 6<<30) // a manifest of 640 kB: several chunks
	if len(b) < 2*protocol.BlobChunk {
		t.Fatalf("the manifest has %d bytes only", len(b))
	}
	if !hasBlob(t, nodes[1], id, b) {
		t.Error("answered as stored, but the other tracker lacks the manifest")
	}
}

func TestManifestsArrive(t *testing.T) {
	nodes := cluster(t, 3)
	nodes[0].start(true, nodes...)
	nodes[0].awaitReady()
	id, b := share(t, nodes[0], 5)
	if _, err := nodes[0].Manifest(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for _, nd := range nodes[1:] {
		nd.start(false, nodes...)
		nd.awaitReady()
		if got, err := nd.Manifest(t.Context(), id); err != nil || !bytes.Equal(got, b) {
			t.Errorf("asked for: %d bytes, %v", len(got), err)
		}
		await(t, "the manifest is here", func() bool { return hasBlob(t, nd, id, b) })
	}
}

func TestMalformedRequests(t *testing.T) {
	nodes := cluster(t, 2)
	nodes[0].start(true, nodes...)
	nodes[0].awaitReady()
	from := nodes[1].host // on the list, and without a replica
	if err := from.Connect(t.Context(), nodes[0].info()); err != nil {
		t.Fatal(err)
	}
	many := make([]string, protocol.MaxElements+1)
	tests := []struct {
		name string
		req  *pb.SyncRequest
		want protocol.Code
	}{
		{"nothing", &pb.SyncRequest{}, protocol.CodeVersion},
		{"bad network", &pb.SyncRequest{Hello: &pb.SyncHello{NetworkId: []byte{1}}}, protocol.CodeUsage},
		{"other network", &pb.SyncRequest{Hello: &pb.SyncHello{NetworkId: make([]byte, 16)}, Body: getRoot()}, ""},
		{"long prefix", &pb.SyncRequest{Body: &pb.SyncRequest_GetDigests{GetDigests: &pb.GetDigests{Prefixes: [][]byte{make([]byte, 9)}}}}, protocol.CodeUsage},
		{"odd prefix", &pb.SyncRequest{Body: &pb.SyncRequest_GetFactIds{GetFactIds: &pb.GetFactIDs{Prefixes: [][]byte{{200}}}}}, ""},
		{"too many prefixes", &pb.SyncRequest{Body: &pb.SyncRequest_GetDigests{GetDigests: &pb.GetDigests{Prefixes: make([][]byte, 100)}}}, protocol.CodeLimit},
		{"too many keys", &pb.SyncRequest{Body: &pb.SyncRequest_GetFacts{GetFacts: &pb.GetFacts{Keys: many}}}, protocol.CodeLimit},
		{"reserve nothing", &pb.SyncRequest{Body: &pb.SyncRequest_ReserveNames{ReserveNames: &pb.ReserveNames{Token: make([]byte, 16)}}}, protocol.CodeUsage},
		{"reserve nonsense", &pb.SyncRequest{Body: &pb.SyncRequest_ReserveNames{ReserveNames: &pb.ReserveNames{Token: make([]byte, 16), Keys: []string{"x"}}}}, protocol.CodeUsage},
		{"malformed fact", &pb.SyncRequest{Body: &pb.SyncRequest_StoreFacts{StoreFacts: &pb.StoreFacts{Facts: []*pb.Fact{{Key: "x"}, nil}}}}, protocol.CodeUsage},
		{"blob of nothing", &pb.SyncRequest{Body: &pb.SyncRequest_GetBlob{GetBlob: &pb.GetBlob{}}}, protocol.CodeUsage},
		{"blob far behind", &pb.SyncRequest{Body: &pb.SyncRequest_GetBlob{GetBlob: &pb.GetBlob{Id: make([]byte, 32), Offset: 1 << 63}}}, protocol.CodeUsage},
		{"no such blob", &pb.SyncRequest{Body: &pb.SyncRequest_GetBlob{GetBlob: &pb.GetBlob{Id: make([]byte, 32)}}}, protocol.CodeNotFound},
		{"no more than so many blobs", &pb.SyncRequest{Body: &pb.SyncRequest_GetBlob{GetBlob: &pb.GetBlob{
			Id: make([]byte, 32), More: make([][]byte, protocol.MaxElements+1),
		}}}, protocol.CodeLimit},
		{"no presence", &pb.SyncRequest{Body: &pb.SyncRequest_GetPresence{GetPresence: &pb.GetPresence{}}}, protocol.CodeNotFound},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			reply, err := rawCall(t, from, nodes[0], test.req)
			if err != nil {
				t.Fatal(err)
			}
			if got := protocol.Code(reply.GetFailure().GetCode()); got != test.want {
				t.Errorf("failure %q (%s), want %q", got, reply.GetFailure().GetMessage(), test.want)
			}
		})
	}
	for name, test := range map[string]struct {
		sent []byte
		want protocol.Code // "" for no answer
	}{
		"too long": {[]byte{0xff, 0xff, 0xff, 0x7f}, protocol.CodeLimit},
		"4 GiB":    {[]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, protocol.CodeLimit},
		"overlong": {[]byte{0x83, 0x80, 0x00, 1, 2, 3}, protocol.CodeLimit},
		"cut":      {[]byte{100, 1, 2}, ""}, "not a message": {[]byte{3, 0xff, 0xff, 0xff}, protocol.CodeUsage},
	} {
		s, err := from.NewStream(t.Context(), nodes[0].id, protocol.SyncProtocol)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(test.sent); err != nil {
			t.Fatal(err)
		}
		_ = s.CloseWrite() // it may have been refused by now
		if err := s.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		var reply pb.SyncReply
		err = wire.NewReader(s, protocol.MaxSync).Read(&reply)
		if (err == nil) != (test.want != "") || protocol.Code(reply.GetFailure().GetCode()) != test.want {
			t.Errorf("%s: answered with %v, %v, want %q", name, &reply, err, test.want)
		}
	}
	if nodes[0].Refused() < 10 {
		t.Errorf("%d refusals are counted", nodes[0].Refused())
	}
	if nodes[0].facts() != 0 {
		t.Error("malformed requests have changed something")
	}
}

func getRoot() *pb.SyncRequest_GetDigests {
	return &pb.SyncRequest_GetDigests{GetDigests: &pb.GetDigests{}}
}

func TestPresenceTravels(t *testing.T) {
	nodes := cluster(t, 3)
	tables := make([]*fakePresence, len(nodes))
	for i, nd := range nodes {
		tables[i] = newPresence(uint64(i + 1))
		nd.config = func(c *replica.Config) { c.Presence = tables[i] }
	}
	// More offers than one message may have, before anybody else is there.
	tables[0].add(&pb.Lease{PeerId: "big", Offers: make([]*pb.Offer, 2_500), Addrs: []string{"a"}})
	for i := range 1_500 {
		tables[0].add(&pb.Lease{PeerId: string(rune('0' + i))})
	}
	for i := range tables[0].local.Leases[0].Offers {
		tables[0].local.Leases[0].Offers[i] = &pb.Offer{FileId: bytes.Repeat([]byte{byte(i)}, 32), GroupId: make([]byte, 16)}
	}
	for _, nd := range nodes {
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	first := nodes[0].id.String()
	for _, table := range tables[1:] {
		await(t, "the list", func() bool { return len(table.of(first).GetLeases()) == 1_501 })
		if n := len(table.of(first).GetLeases()[0].GetOffers()); n != 2_500 {
			t.Errorf("%d offers, want 2,500", n)
		}
	}
	nodes[0].SpreadPresence(tables[0].add(&pb.Lease{PeerId: "new"}))
	tables[0].add(&pb.Lease{PeerId: "lost on its way"})
	nodes[0].SpreadPresence(tables[0].add(&pb.Lease{PeerId: "newer"}))
	nodes[0].SpreadPresence(tables[0].add(&pb.Lease{PeerId: "huge", Offers: make([]*pb.Offer, 2_000)}))
	for _, table := range tables[1:] {
		await(t, "all changes", func() bool { return len(table.of(first).GetLeases()) == 1_505 })
	}
}

func TestRosterShrinks(t *testing.T) {
	nodes := running(t, 3)
	nodes[0].SetRoster(infos(nodes[:2]))
	await(t, "one less", func() bool { return len(nodes[0].Connected()) == 1 })
	s, err := nodes[0].register("ada", userID("ada"))
	if err != nil || s.On != 2 || s.Trackers != 2 {
		t.Errorf("Stored = %+v, %v, want on 2 of 2", s, err)
	}
	await(t, "the removed one is not answered", func() bool { return len(nodes[2].Connected()) == 1 })
	nodes[0].SetRoster(infos(nodes))
	awaitConnected(t, nodes...)
	awaitEqual(t, nodes...)
}

// A tracker that was there, as a stranger, before it was added to the lists hears
// gossip like any other.
func TestAddedTrackerGetsGossip(t *testing.T) {
	nodes := cluster(t, 2)
	tables := []*fakePresence{newPresence(1), newPresence(2)}
	for i, nd := range nodes {
		// Without a nudge no round comes within the patience of the test.
		nd.config = func(c *replica.Config) { c.Presence, c.Interval = tables[i], time.Minute }
	}
	first, added := nodes[0], nodes[1]
	first.start(true)
	first.awaitReady()
	added.start(false, nodes...)
	await(t, "the stranger is there", func() bool { return first.host.Network().Connectedness(added.id) == network.Connected })
	time.Sleep(500 * time.Millisecond) // its subscription has come, and was refused
	first.SetRoster(infos(nodes))
	awaitConnected(t, nodes...)
	time.Sleep(time.Second) // the rounds at the beginning are over
	n := 0
	await(t, "a change of the leases", func() bool {
		if n%50 == 0 { // a tracker gets what is published once pubsub has it in the mesh
			first.SpreadPresence(tables[0].add(&pb.Lease{PeerId: fmt.Sprint(n)}))
		}
		n++
		return len(tables[1].of(first.id.String()).GetLeases()) > 0
	})
}

func TestOnPeer(t *testing.T) {
	nodes := cluster(t, 2)
	told := make(chan bool, 10)
	nodes[0].config = func(c *replica.Config) {
		c.OnPeer = func(id peer.ID, connected bool) {
			if id == nodes[1].id {
				told <- connected
			}
		}
	}
	expect := func(want bool) {
		t.Helper()
		select {
		case got := <-told:
			if got != want {
				t.Errorf("told %v, want %v", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("not told that connected is %v", want)
		}
	}
	for _, nd := range nodes {
		nd.start(true, nodes...)
	}
	expect(true)
	nodes[1].stop()
	expect(false)
	nodes[1].start(false, nodes...)
	expect(true)
	nodes[0].SetRoster(nil)
	expect(false)
}

func TestExpiredSessionsLeaveTheStore(t *testing.T) {
	nodes := cluster(t, 2) // one alone would not trust its clock yet
	var wall clockOffset
	for _, each := range nodes {
		each.config = func(c *replica.Config) { c.Now = wall.now }
		each.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	nd := nodes[0]
	now := time.Now().UnixMilli()
	for i, life := range []time.Duration{time.Hour, 30 * time.Hour} {
		s := catalog.Session{ID: protocol.SessionID{byte(i)}, Device: "d", Since: now, Until: now + life.Milliseconds()}
		nd.must(func(*catalog.Catalog) []catalog.Draft { return catalog.NewSession(userID("ada"), s) })
	}
	wall.set(26 * time.Hour)
	await(t, "the first is dropped", func() bool { return countRecords(t, nd.store) == 1 })
	nd.stop()
	wall.set(60 * time.Hour)
	nd.start(false, nodes...)
	await(t, "the second is dropped after a restart", func() bool { return countRecords(t, nd.store) == 0 })
}
