package trackers

import (
	"cmp"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// slow moves so many chunks of a manifest, one every 3 s, and then stands still
// if it is to.
type slow struct {
	pb.UnimplementedTrackerServiceHandler
	chunks int
	size   int // of a chunk that is sent; 0 for protocol.ManifestChunk
	stalls bool
	over   chan struct{} // closed at the end of the test
}

const chunkPace = 3 * time.Second

func (s *slow) Hello(context.Context, *connect.Request[pb.HelloRequest]) (*connect.Response[pb.HelloResponse], error) {
	network := protocol.NetworkID{7}
	return connect.NewResponse(&pb.HelloResponse{NetworkId: network[:], Version: protocol.Version, Serving: true}), nil
}

func (s *slow) GetManifest(ctx context.Context, _ *connect.Request[pb.FileRequest], out *connect.ServerStream[pb.ManifestChunk]) error {
	for range s.chunks {
		select {
		case <-time.After(chunkPace):
		case <-s.over:
			return nil
		}
		if err := out.Send(&pb.ManifestChunk{Data: make([]byte, cmp.Or(s.size, protocol.ManifestChunk))}); err != nil {
			return err
		}
	}
	if s.stalls {
		<-s.over
	}
	return ctx.Err()
}

func (s *slow) PutManifest(_ context.Context, in *connect.ClientStream[pb.PutManifestRequest]) (*connect.Response[pb.PutManifestResponse], error) {
	for n := 0; n < s.chunks && in.Receive(); n++ {
		time.Sleep(chunkPace)
	}
	if s.stalls {
		<-s.over
	}
	return connect.NewResponse(&pb.PutManifestResponse{}), in.Err()
}

// A manifest may take as long as it needs over a slow link, as long as it moves.
func TestLongCalls(t *testing.T) {
	const chunks = 40
	get := func(ctx context.Context, rpc pb.TrackerServiceClient, moved func(int, int)) error {
		stream, err := rpc.GetManifest(ctx, connect.NewRequest(&pb.FileRequest{}))
		if err != nil {
			return err
		}
		defer stream.Close()
		for stream.Receive() {
			moved(len(stream.Msg().GetData()), len(stream.Msg().GetData()))
		}
		return stream.Err()
	}
	put := func(ctx context.Context, rpc pb.TrackerServiceClient, moved func(int, int)) error {
		stream := rpc.PutManifest(ctx)
		for n := range chunks {
			if stream.Send(&pb.PutManifestRequest{Data: make([]byte, protocol.ManifestChunk/2)}) != nil {
				break
			}
			moved(protocol.ManifestChunk/2, n*protocol.ManifestChunk/2)
		}
		_, err := stream.CloseAndReceive()
		return err
	}
	for _, tt := range []struct {
		name    string
		f       func(ctx context.Context, rpc pb.TrackerServiceClient, moved func(int, int)) error
		tracker slow
		// What is known of the time: no less than so much, no more than so much more.
		least, more time.Duration
		want        error
	}{
		{"fetched", get, slow{chunks: chunks}, chunks * chunkPace, time.Second, nil},
		{"stored", put, slow{chunks: chunks}, chunks * chunkPace, time.Second, nil},
		{"fetched in part", get, slow{chunks: chunks / 2, stalls: true}, chunks/2*chunkPace + answerBudget, 2 * time.Second, context.DeadlineExceeded},
		{"stored in part", put, slow{chunks: chunks / 2, stalls: true}, chunks / 2 * chunkPace, answerBudget + chunks*time.Second/2, context.DeadlineExceeded},
		{"trickled", get, slow{chunks: 10_000, size: 1}, answerBudget, chunkPace, context.DeadlineExceeded},
		{"never begun", get, slow{stalls: true}, answerBudget, time.Second, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.tracker.over = make(chan struct{})
				defer close(tt.tracker.over)
				c, tr := piped(t, &tt.tracker, func(Signal) {})
				c.known.hear(tr, time.Now())
				began := time.Now()
				answered, err := c.attempt(t.Context(), tr, &queue{}, call{long: tt.f})
				if took := time.Since(began); took < tt.least || took > tt.least+tt.more {
					t.Errorf("it took %v, want from %v to %v", took, tt.least, tt.least+tt.more)
				}
				if !errors.Is(err, tt.want) || answered != (tt.want == nil) {
					t.Errorf("answered: %v, %v, want %v", answered, err, tt.want)
				}
			})
		})
	}
}
