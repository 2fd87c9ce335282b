package host_test

import (
	"testing"

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

// An address has so many places; another one, and this machine, are not kept
// out by it, and a place that was left is free again, once.
func TestStrangers(t *testing.T) {
	s := host.NewStrangers()
	enter := func(addr string) (leave func(), ok bool) { return s.Enter(ma.StringCast(addr)) }
	var leave []func()
	for i := range protocol.MaxStrangeStreams {
		l, ok := enter("/ip4/192.0.2.7/tcp/1")
		if !ok {
			t.Fatalf("stream %d is kept out", i)
		}
		leave = append(leave, l)
	}
	if _, ok := enter("/ip4/192.0.2.7/udp/9/quic-v1"); ok {
		t.Error("one too many is let in")
	}
	for _, other := range []string{"/ip4/192.0.2.8/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1"} {
		for range 2 * protocol.MaxStrangeStreams {
			if l, ok := enter(other); ok {
				defer l()
			} else if other != "/ip4/192.0.2.8/tcp/1" {
				t.Fatalf("%s is kept out", other)
			}
		}
	}
	leave[0]()
	leave[0]()
	if _, ok := enter("/ip4/192.0.2.7/tcp/1"); !ok {
		t.Error("a place that was left is not free")
	}
	if _, ok := enter("/ip4/192.0.2.7/tcp/1"); ok {
		t.Error("a place that was left twice is two")
	}
}
