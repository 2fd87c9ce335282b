package node

import (
	"context"
	"crypto/sha1"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/gostream"
	"github.com/zeebo/blake3"

	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/roster"
)

// fakes are trackers that answer as a test says; calls are counted.
type fakes struct {
	pb.UnimplementedTrackerServiceHandler
	asked    atomic.Int32
	manifest func(call int32) []byte
	ticket   func(client peer.ID) ([]byte, error)
}

func (m *fakes) Hello(context.Context, *connect.Request[pb.HelloRequest]) (*connect.Response[pb.HelloResponse], error) {
	network := protocol.NetworkID{7}
	return connect.NewResponse(&pb.HelloResponse{NetworkId: network[:], Version: protocol.Version, Serving: true}), nil
}

func (m *fakes) GetManifest(_ context.Context, _ *connect.Request[pb.FileRequest], out *connect.ServerStream[pb.ManifestChunk]) error {
	return out.Send(&pb.ManifestChunk{Data: m.manifest(m.asked.Add(1))})
}

func (m *fakes) IssueTicket(_ context.Context, r *connect.Request[pb.IssueTicketRequest]) (*connect.Response[pb.IssueTicketResponse], error) {
	m.asked.Add(1)
	client, err := peer.Decode(r.Peer().Addr)
	if err != nil {
		return nil, err
	}
	t, err := m.ticket(client)
	return connect.NewResponse(&pb.IssueTicketResponse{Ticket: t}), err
}

// client is a client of some of the trackers.
func (m *fakes) client(t *testing.T, r *records.Records, entries ...roster.Entry) (*trackers.Client, host.Host) {
	t.Helper()
	h := testHost(t)
	c, err := trackers.New(trackers.Config{
		Host: h, Entries: entries, Store: r,
		PinFile: filepath.Join(t.TempDir(), "known_trackers"), Sink: func(trackers.Signal) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, h
}

func testHost(t *testing.T) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// serve starts one of the trackers.
func (m *fakes) serve(t *testing.T, number int) roster.Entry {
	t.Helper()
	h := testHost(t)
	l, err := gostream.Listen(h, protocol.TrackerProtocol)
	if err != nil {
		t.Fatal(err)
	}
	_, handler := pb.NewTrackerServiceHandler(m)
	srv := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	addr := h.Addrs()[0]
	return roster.Entry{Number: number, Text: addr.String(), Addr: addr, ID: h.ID()}
}

// One tracker that sends a wrong description does not end a download: others
// have the right one. If none has, that is no fault of the file.
func TestWrongManifestIsAskedForElsewhere(t *testing.T) {
	content := []byte("some content")
	describe := func(name string) *protocol.Manifest {
		return &protocol.Manifest{
			Name: name, Size: int64(len(content)), PieceLength: protocol.MinPieceLength, SHA1: sha1.Sum(content),
			Pieces: []protocol.PieceHash{{SHA1: sha1.Sum(content), BLAKE3: blake3.Sum256(content)}},
		}
	}
	right, wrong := describe("a"), describe("b")
	for _, tt := range []struct {
		name string
		lies int32 // the answers that are wrong
		want protocol.Code
	}{{"one lies", 1, ""}, {"all lie", 1 << 30, protocol.CodeNoTracker}} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := records.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			m := &fakes{manifest: func(call int32) []byte {
				if call <= tt.lies {
					return wrong.Encode()
				}
				return right.Encode()
			}}
			c, _ := m.client(t, r, m.serve(t, 1), m.serve(t, 2))
			a := &account{node: &Node{records: r, trackers: c}}
			got, err := a.manifest(t.Context(), fileKey{file: right.ID()})
			if protocol.CodeOf(err) != tt.want || err == nil && got.Name != "a" {
				t.Errorf("got %+v, %v, want %q", got, err, tt.want)
			}
			if n := m.asked.Load(); n < 2 {
				t.Errorf("%d trackers were asked", n)
			}
		})
	}
}
