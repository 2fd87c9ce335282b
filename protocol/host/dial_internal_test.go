package host

import (
	"testing"

	ma "github.com/multiformats/go-multiaddr"
)

func TestRankDials(t *testing.T) {
	tests := []struct {
		name      string
		addrs     []string
		wantFirst string
	}{
		{name: "tcp before quic", addrs: []string{"/ip4/1.2.3.4/udp/1/quic-v1", "/ip4/1.2.3.4/tcp/1"}, wantFirst: "/ip4/1.2.3.4/tcp/1"},
		{name: "quic alone", addrs: []string{"/ip4/1.2.3.4/udp/1/quic-v1"}, wantFirst: "/ip4/1.2.3.4/udp/1/quic-v1"},
		{name: "private", addrs: []string{"/ip4/10.0.0.1/udp/1/quic-v1", "/ip6/fd00::1/udp/1/quic-v1", "/ip4/10.0.0.1/tcp/1"}, wantFirst: "/ip4/10.0.0.1/tcp/1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var addrs []ma.Multiaddr
			for _, a := range tt.addrs {
				addrs = append(addrs, ma.StringCast(a))
			}
			ranked := rankDials(addrs)
			if len(ranked) != len(addrs) {
				t.Fatalf("%d of %d addresses ranked", len(ranked), len(addrs))
			}
			for _, r := range ranked {
				first := r.Addr.String() == tt.wantFirst
				if first && r.Delay != 0 {
					t.Errorf("%s waits %v, want 0", r.Addr, r.Delay)
				}
				if _, err := r.Addr.ValueForProtocol(ma.P_TCP); err != nil && !first && r.Delay < fallbackDelay {
					t.Errorf("%s waits %v, want %v at least", r.Addr, r.Delay, fallbackDelay)
				}
			}
		})
	}
}
