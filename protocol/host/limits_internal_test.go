package host

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// openFrom opens up to n inbound connections from the addresses and returns
// how many were let in.
func openFrom(t *testing.T, maxClients, n int, addr func(i int) string) int {
	t.Helper()
	resources, connections, err := newLimits(maxClients, math.MaxInt32)
	if err != nil {
		t.Fatal(err)
	}
	defer resources.Close()
	defer connections.Close()
	for i := range n {
		scope, err := resources.OpenConnection(network.DirInbound, true, ma.StringCast(addr(i)))
		if err != nil {
			return i
		}
		defer scope.Done()
		key, err := testPeer(i)
		if err != nil {
			t.Fatal(err)
		}
		if err := scope.SetPeer(key); err != nil {
			return i
		}
	}
	return n
}

func TestConnections(t *testing.T) {
	elsewhere := func(i int) string { return fmt.Sprintf("/ip4/10.1.%d.%d/tcp/1", i/200, i%200+1) }
	same := func(int) string { return "/ip4/10.1.1.1/tcp/1" }
	tests := []struct {
		name       string
		maxClients int
		addr       func(int) string
		min, max   int
	}{
		{name: "tracker of 1,000", maxClients: 1000, addr: elsewhere, min: 1000, max: 3200},
		{name: "tracker of 100", maxClients: 100, addr: elsewhere, min: 100, max: 400},
		{name: "client", maxClients: 0, addr: elsewhere, min: 256, max: 512},
		{name: "one address at a tracker", maxClients: 1000, addr: same, min: 256, max: 256},
		{name: "one address at a client", maxClients: 0, addr: same, min: 256, max: 256},
		{name: "loopback", maxClients: 1000, addr: func(int) string { return "/ip4/127.0.0.1/tcp/1" }, min: 1000, max: 3200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := openFrom(t, tt.maxClients, tt.max+10, tt.addr); got < tt.min || got > tt.max {
				t.Errorf("%d connections let in, want %d to %d", got, tt.min, tt.max)
			}
		})
	}
}

// Strangers from many addresses leave a tracker the files for its own work and for
// its connections to the others, and there are as many as its clients need.
func TestConnectionsLeaveFiles(t *testing.T) {
	const clients, files = 1000, 1600 // the fewest that a tracker of so many starts with
	resources, connections, err := newLimits(clients, files)
	if err != nil {
		t.Fatal(err)
	}
	defer resources.Close()
	defer connections.Close()
	open := func(i int, way network.Direction) error {
		scope, err := resources.OpenConnection(way, true, ma.StringCast(fmt.Sprintf("/ip4/10.1.%d.%d/tcp/1", i/200, i%200+1)))
		if err != nil {
			return err
		}
		t.Cleanup(scope.Done)
		id, err := testPeer(i)
		if err != nil {
			return err
		}
		return scope.SetPeer(id)
	}
	in, out := 0, 0
	for in < files && open(in, network.DirInbound) == nil {
		in++
	}
	for out < files && open(files+out, network.DirOutbound) == nil {
		out++
	}
	if in < clients*3/2 || out < 32 || in+out > files-ownFiles {
		t.Errorf("of %d files, others have %d and connections to others %d", files, in, out)
	}
	if high := connections.GetInfo().HighWater; high >= in {
		t.Errorf("idle connections are given up from %d on, of %d", high, in)
	}
}

// A stream of a client may grow its window to the full: yamux asks for that at
// a priority that gets half of what the peer may take.
func TestClientWindow(t *testing.T) {
	resources, connections, err := newLimits(0, math.MaxInt32)
	if err != nil {
		t.Fatal(err)
	}
	defer resources.Close()
	defer connections.Close()
	scope, err := resources.OpenConnection(network.DirInbound, true, ma.StringCast("/ip4/10.1.1.1/tcp/1"))
	if err != nil {
		t.Fatal(err)
	}
	defer scope.Done()
	id, err := testPeer(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := scope.SetPeer(id); err != nil {
		t.Fatal(err)
	}
	span, err := scope.PeerScope().BeginSpan()
	if err != nil {
		t.Fatal(err)
	}
	defer span.Done()
	if err := span.ReserveMemory(maxStreamWindow, network.ReservationPriorityMedium); err != nil {
		t.Errorf("a window of %d bytes: %v", maxStreamWindow, err)
	}
}

// testPeer makes the id of an Ed25519 key that nobody has.
func testPeer(i int) (peer.ID, error) {
	raw := make([]byte, 32)
	binary.BigEndian.PutUint32(raw, uint32(i))
	key, err := crypto.UnmarshalEd25519PublicKey(raw)
	if err != nil {
		return "", err
	}
	return peer.IDFromPublicKey(key)
}
