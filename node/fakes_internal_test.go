package node

import (
	"context"
	"crypto/rand"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/gostream"

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

func testHost(t *testing.T) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func testKey(t *testing.T) crypto.PrivKey {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// testRecords is the records of a client that is new.
func testRecords(t *testing.T) *records.Records {
	t.Helper()
	r, err := records.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}
