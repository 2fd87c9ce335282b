package host_test

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
)

func TestAddressKey(t *testing.T) {
	tests := []struct{ name, addr, want string }{
		{"IPv4", "/ip4/192.0.2.7/tcp/1", "192.0.2.7"},
		{"IPv4 over QUIC", "/ip4/192.0.2.7/udp/1/quic-v1", "192.0.2.7"},
		{"IPv6", "/ip6/2001:db8:1:2ff:3::4/tcp/1", "2001:db8:1:200::/56"},
		{"IPv6, other end of the prefix", "/ip6/2001:db8:1:200::/tcp/1", "2001:db8:1:200::/56"},
		{"IPv4 in IPv6", "/ip6/::ffff:192.0.2.7/tcp/1", "192.0.2.7"},
		{"name", "/dns4/example.org/tcp/1", "unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := ma.NewMultiaddr(tt.addr)
			if err != nil {
				t.Fatal(err)
			}
			if got := host.AddressKey(a); got != tt.want {
				t.Errorf("AddressKey(%s) = %q, want %q", tt.addr, got, tt.want)
			}
		})
	}
}

// conn is a connection of somebody from somewhere.
type conn struct {
	network.Conn
	peer peer.ID
	addr string
}

func (c conn) RemotePeer() peer.ID           { return c.peer }
func (c conn) RemoteMultiaddr() ma.Multiaddr { return ma.StringCast(c.addr) }

// An address has so many places; another one, and this machine, are not kept
// out by it, and a place that was left is free again, once.
func TestStrangers(t *testing.T) {
	s := host.NewStrangers()
	enter := func(id peer.ID, addr string) (*host.Visit, bool) { return s.Enter(conn{peer: id, addr: addr}) }
	var visits []*host.Visit
	for i := range protocol.MaxStrangeStreams {
		v, ok := enter("eve", "/ip4/192.0.2.7/tcp/1")
		if !ok {
			t.Fatalf("stream %d is kept out", i)
		}
		visits = append(visits, v)
	}
	wantOut := func(id peer.ID) {
		t.Helper()
		if _, ok := enter(id, "/ip4/192.0.2.7/udp/9/quic-v1"); ok {
			t.Errorf("one too many of %s is let in", id)
		}
	}
	wantOut("eve")
	wantOut("ada")
	for _, other := range []string{"/ip4/192.0.2.8/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1"} {
		for i := range 2 * protocol.MaxStrangeStreams {
			if _, ok := enter("bob", other); !ok && (i < protocol.MaxStrangeStreams || other != "/ip4/192.0.2.8/tcp/1") {
				t.Fatalf("%s is kept out", other)
			}
		}
	}
	visits[0].Leave()
	visits[0].Leave()
	v, ok := enter("ada", "/ip4/192.0.2.7/tcp/1")
	if !ok {
		t.Fatal("a place that was left is not free")
	}
	wantOut("eve") // left twice, it is one place
	// Who has shown who it is takes no place, with its other streams neither.
	v.Known()
	v.Known()
	if _, ok := enter("eve", "/ip4/192.0.2.7/tcp/1"); !ok {
		t.Error("the place of who is known is not free")
	}
	for range 2 * protocol.MaxStrangeStreams {
		if _, ok := enter("ada", "/ip4/192.0.2.7/tcp/1"); !ok {
			t.Fatal("who is known is kept out")
		}
	}
	wantOut("eve")
	v.Leave()
	v.Known() // too late
	wantOut("ada")
}
