package replica_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
)

// Far more names are claimed at once at each of two trackers than one serves the
// other requests at a time: each name is granted once, and stored on both.
func TestCrowdOfClaims(t *testing.T) {
	const names = 60
	nodes := running(t, 2)
	stored := make([]replica.Stored, 2*names)
	errs := make([]error, 2*names)
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range names {
		for j, nd := range nodes {
			wg.Go(func() {
				<-begin
				stored[2*i+j], errs[2*i+j] = nd.register(fmt.Sprintf("name%d", i), protocol.UserID{byte(i), byte(j), 1})
			})
		}
	}
	close(begin)
	wg.Wait()
	for i := range names {
		won := 0
		for j := range nodes {
			switch err := errs[2*i+j]; codeOf(err) {
			case "":
				won++
				if on := stored[2*i+j].On; on != 2 {
					t.Errorf("name %d at tracker %d is stored on %d, want 2", i, j+1, on)
				}
			case protocol.CodeExists:
			default:
				t.Errorf("name %d at tracker %d: %v", i, j+1, err)
			}
		}
		if won > 1 {
			t.Errorf("name %d was granted to %d", i, won)
		}
	}
	awaitEqual(t, nodes...)
}

// A tracker that asks more at a time than is served waits, up to a bound.
func TestRequestsWaitForTheirTurn(t *testing.T) {
	nodes := running(t, 2)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// Streams on which nothing is asked yet take all places, and most of those to
	// wait in: the trackers have business of their own.
	const served, waiting = 16, 24
	streams := make([]network.Stream, served+waiting)
	for i := range streams {
		s, err := nodes[0].host.NewStream(network.WithNoDial(ctx, "test"), nodes[1].id, p2pproto.ID(protocol.SyncProtocol))
		if err != nil {
			t.Fatal(err)
		}
		streams[i] = s
		if _, err := s.Write(nil); err != nil {
			t.Fatal(err)
		}
	}
	var request bytes.Buffer
	hello := &pb.SyncHello{NetworkId: bytes.Repeat([]byte{0}, 16)}
	hello.NetworkId[0] = 1
	ask := &pb.SyncRequest{Hello: hello, Body: &pb.SyncRequest_GetDigests{GetDigests: &pb.GetDigests{}}}
	if err := wire.Write(&request, ask); err != nil {
		t.Fatal(err)
	}
	// The last is asked first: it gets an answer once others are done.
	for i, s := range slices.Backward(streams) {
		if _, err := s.Write(request.Bytes()); err != nil {
			t.Fatalf("ask on stream %d: %v", i, err)
		}
	}
	for i, s := range streams {
		reply := new(pb.SyncReply)
		if err := wire.NewReader(s, protocol.MaxSync).Read(reply); err != nil || reply.GetDigests() == nil {
			t.Errorf("stream %d: %v, %v, want digests", i, reply, err)
		}
		_ = s.Close()
	}
}
