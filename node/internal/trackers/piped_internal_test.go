package trackers

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/roster"
)

// pipes is a network of one listener, fit for a bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// noHost is a host that only has a name.
type noHost struct {
	host.Host
	id peer.ID
}

func (h noHost) ID() peer.ID            { return h.id }
func (noHost) Addrs() []ma.Multiaddr    { return nil }
func (noHost) Network() network.Network { return noNetwork{} }

type noNetwork struct{ network.Network }

func (noNetwork) ClosePeer(peer.ID) error                     { return nil }
func (noNetwork) Connectedness(peer.ID) network.Connectedness { return network.Connected }

// noStore remembers nothing.
type noStore struct{}

func (noStore) Learned() (map[string][]string, error)  { return nil, nil }
func (noStore) SetLearned(map[string][]string) error   { return nil }
func (noStore) Pending() (envelopes [][]byte, _ error) { return nil, nil }
func (noStore) SetPending([][]byte) error              { return nil }

// piped is a client, which does not run, of one tracker to which it is connected.
func piped(t *testing.T, service pb.TrackerServiceHandler, sink func(Signal)) (*Client, *tracker) {
	t.Helper()
	addr := ma.StringCast("/ip4/127.0.0.1/tcp/1")
	c, err := New(Config{
		Host: noHost{}, Entries: []roster.Entry{{Number: 1, Text: "the tracker", Addr: addr, ID: "tracker"}},
		PinFile: filepath.Join(t.TempDir(), "pins"), Store: noStore{}, Sink: sink,
	})
	if err != nil {
		t.Fatal(err)
	}
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	_, handler := pb.NewTrackerServiceHandler(service)
	srv := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	transport := &http.Transport{DialContext: l.dial}
	t.Cleanup(func() {
		_ = c.Close()
		transport.CloseIdleConnections()
		_ = srv.Close()
		<-done
	})
	tr := c.known.all()[0]
	tr.rpc = pb.NewTrackerServiceClient(&http.Client{Transport: transport}, "http://tracker")
	return c, tr
}
