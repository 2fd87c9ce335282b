package replica_test

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// blobCalls is a store that counts the calls for manifests it is read for.
type blobCalls struct {
	store.Store
	n atomic.Int64
}

func (s *blobCalls) BlobRange(id protocol.FileID, offset int64, n int) ([]byte, int64, bool, error) {
	if n == protocol.BlobChunk { // the one that is asked for, not those beside it
		s.n.Add(1)
	}
	return s.Store.BlobRange(id, offset, n)
}

// shareMany has a node share so many small files at once.
func shareMany(t *testing.T, nd *node, files int) map[protocol.FileID][]byte {
	t.Helper()
	blobs := map[protocol.FileID][]byte{}
	_, err := nd.Propose(t.Context(), replica.Proposal{Blobs: blobs, Build: func(c *catalog.Catalog) (ds []catalog.Draft, _ error) {
		for i := range files {
			m := manifest(t, fmt.Sprint("small-", i))
			blobs[m.ID()] = m.Encode()
			ds = append(ds, c.ShareFile(catalog.Share{Group: groupID(1), File: m.ID(), User: userID("ada"), Peer: "p"}, m, 100)...)
		}
		return ds, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return blobs
}

// A new tracker fetches small manifests many at a time, and as soon as it has
// caught up, not in some later round.
func TestManifestsTravelTogether(t *testing.T) {
	const files = 400
	nodes := cluster(t, 2)
	disk := &blobCalls{Store: nodes[0].store}
	nodes[0].store = disk
	for _, nd := range nodes {
		nd.config = seldom
	}
	nodes[0].start(true)
	nodes[0].awaitReady()
	blobs := shareMany(t, nodes[0], files)
	id, large := share(t, nodes[0], 6<<30)
	blobs[id] = large
	nodes[0].SetRoster(infos(nodes))
	nodes[1].start(false, nodes...)
	for id, want := range blobs {
		await(t, "all manifests are there", func() bool { return hasBlob(t, nodes[1], id, want) })
	}
	if n := disk.n.Load(); n > files/10 {
		t.Errorf("%d calls for %d manifests", n, len(blobs))
	}
}

// What a reply carries besides is what was asked for, is here, and has room.
func TestWhatComesWithAManifest(t *testing.T) {
	nodes := cluster(t, 2)
	nodes[0].start(true, nodes...)
	nodes[0].awaitReady()
	if err := nodes[1].host.Connect(t.Context(), nodes[0].info()); err != nil {
		t.Fatal(err)
	}
	blobs := shareMany(t, nodes[0], 3)
	largeID, large := share(t, nodes[0], 6<<30)
	var ids [][]byte
	for id := range blobs {
		ids = append(ids, id[:])
	}
	ask := func(id []byte, more ...[]byte) *pb.Blob {
		t.Helper()
		req := &pb.SyncRequest{Body: &pb.SyncRequest_GetBlob{GetBlob: &pb.GetBlob{Id: id, More: more}}}
		reply, err := rawCall(t, nodes[1].host, nodes[0], req)
		if err != nil || reply.GetFailure() != nil {
			t.Fatalf("%v, %v", reply.GetFailure(), err)
		}
		return reply.GetBlob()
	}
	missing := make([]byte, len(largeID))
	for name, test := range map[string]struct {
		id   []byte
		more [][]byte
		want [][]byte
	}{
		"none":         {ids[0], nil, nil},
		"two":          {ids[0], ids[1:], ids[1:]},
		"missing":      {ids[0], [][]byte{missing, ids[2]}, ids[2:]},
		"no room":      {ids[0], [][]byte{ids[1], largeID[:], ids[2]}, ids[1:2]},
		"beside large": {largeID[:], ids, nil},
		"others":       {missing, ids, ids},
	} {
		got := ask(test.id, test.more...)
		var came [][]byte
		for _, b := range got.GetMore() {
			id := protocol.ManifestID(b)
			came = append(came, id[:])
		}
		if !slices.EqualFunc(came, test.want, slices.Equal) {
			t.Errorf("%s: %x came, want %x", name, came, test.want)
		}
	}
	if got := ask(largeID[:]); int(got.GetSize()) != len(large) || len(got.GetData()) != protocol.BlobChunk {
		t.Errorf("the first part of the large one: %d of %d bytes", len(got.GetData()), got.GetSize())
	}
}

// A tracker that sends other manifests than those asked for has them refused, and
// those asked for are taken.
func TestStrangeManifestsAreRefused(t *testing.T) {
	nodes := cluster(t, 2)
	nodes[0].start(true, nodes...)
	nodes[0].awaitReady()
	strange, asked := manifest(t, "strange"), map[protocol.FileID]*protocol.Manifest{}
	for i := range 12 {
		m := manifest(t, fmt.Sprint("file-", i))
		asked[m.ID()] = m
	}
	liar := nodes[1].host
	id := nodes[0].Network()
	liar.SetStreamHandler(protocol.SyncProtocol, func(s network.Stream) {
		defer func() { _ = s.Close() }()
		var req pb.SyncRequest
		if wire.NewReader(s, protocol.MaxSync).Read(&req) != nil {
			return
		}
		reply := &pb.SyncReply{Hello: &pb.SyncHello{NetworkId: id[:], WallMs: time.Now().UnixMilli()}}
		if ask := req.GetGetBlob(); ask != nil {
			blob := &pb.Blob{Data: strange.Encode()}
			if m := asked[protocol.FileID(ask.GetId())]; m != nil {
				blob.Data = m.Encode()
			}
			blob.Size = uint64(len(blob.Data))
			if len(ask.GetMore()) > 0 {
				blob.More = [][]byte{strange.Encode()}
			}
			reply.Body = &pb.SyncReply_Blob{Blob: blob}
		}
		_ = wire.Write(s, reply)
	})
	if err := liar.Connect(t.Context(), nodes[0].info()); err != nil {
		t.Fatal(err)
	}
	tell := func(of ...*protocol.Manifest) {
		t.Helper()
		var facts []*pb.Fact
		for _, m := range of {
			stamp := &pb.Stamp{WallMs: time.Now().UnixMilli(), Origin: nodes[1].id.String()}
			share := catalog.Share{Group: groupID(1), File: m.ID(), User: userID("ada"), Peer: nodes[1].id.String()}
			for _, d := range catalog.New().ShareFile(share, m, 100) {
				facts = append(facts, &pb.Fact{Key: string(d.Key), Value: d.Value, Stamp: stamp})
			}
		}
		_, err := rawCall(t, liar, nodes[0], &pb.SyncRequest{Body: &pb.SyncRequest_StoreFacts{StoreFacts: &pb.StoreFacts{Facts: facts}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	before := nodes[0].Refused()
	tell(slices.Collect(maps.Values(asked))...)
	for _, m := range asked {
		await(t, "what was asked for is there", func() bool { return hasBlob(t, nodes[0], m.ID(), m.Encode()) })
	}
	if has, err := nodes[0].HasManifest(strange.ID()); has || err != nil || nodes[0].Refused() == before {
		t.Errorf("the strange one is here: %v, %v; %d refusals", has, err, nodes[0].Refused()-before)
	}
	// Nor is it taken for the one that was asked for.
	other := manifest(t, "other")
	before = nodes[0].Refused()
	tell(other)
	await(t, "it is refused", func() bool { return nodes[0].Refused() > before })
	if has, err := nodes[0].HasManifest(other.ID()); has || err != nil {
		t.Errorf("another manifest was taken for the one asked for: %v, %v", has, err)
	}
}

// lost is a store that has all manifests to itself, and none to others.
type lost struct{ store.Store }

func (lost) HasBlob(protocol.FileID) (bool, error) { return true, nil }

func (lost) BlobRange(protocol.FileID, int64, int) ([]byte, int64, bool, error) {
	return nil, 0, false, nil
}

// streamCounter is a host that counts the streams that are opened to it.
type streamCounter struct {
	host.Host
	n atomic.Int64
}

func (h *streamCounter) SetStreamHandler(p p2pproto.ID, f network.StreamHandler) {
	h.Host.SetStreamHandler(p, func(s network.Stream) {
		h.n.Add(1)
		f(s)
	})
}

// A tracker that has none of the manifests is asked for a few only, before the one
// that has all of them is.
func TestTrackerWithoutManifestsIsLeft(t *testing.T) {
	const files = 400
	nodes := cluster(t, 3)
	slices.SortFunc(nodes, func(a, b *node) int { return slices.Compare([]byte(a.id), []byte(b.id)) })
	nodes[0].store = lost{nodes[0].store}
	asked := &streamCounter{}
	nodes[0].config = func(c *replica.Config) {
		asked.Host = c.Host
		c.Host = asked
	}
	second := &blobCalls{Store: nodes[1].store}
	nodes[1].store = second
	for _, nd := range nodes[:2] {
		nd.start(true, nodes[:2]...)
	}
	awaitConnected(t, nodes[:2]...)
	blobs := shareMany(t, nodes[1], files)
	awaitEqual(t, nodes[0], nodes[1])
	asked.n.Store(0)
	before := second.n.Load()
	for _, nd := range nodes[:2] {
		nd.SetRoster(infos(nodes))
	}
	nodes[2].config = seldom // manifests are asked for when a tracker is found
	nodes[2].start(false, nodes[0])
	awaitEqual(t, nodes[1], nodes[2])
	nodes[2].SetRoster(infos(nodes))
	for id, want := range blobs {
		await(t, "all manifests are there", func() bool { return hasBlob(t, nodes[2], id, want) })
	}
	if a, b := asked.n.Load(), second.n.Load()-before; a > files/2 || b > files/10 {
		t.Errorf("%d requests to the one that has none of %d, %d calls to the one that has all", a, files, b)
	}
}
