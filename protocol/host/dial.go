package host

import (
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
)

// fallbackDelay is how long TCP has before QUIC, which costs three times as
// much CPU, is tried beside it. Long enough for TCP and TLS over 300 ms of
// round-trip; when TCP is refused, libp2p goes on at once.
const fallbackDelay = time.Second

// rankDials is libp2p's ranking among the TCP addresses, and among all others
// behind them.
func rankDials(addrs []ma.Multiaddr) []network.AddrDelay {
	var first, fallback []ma.Multiaddr
	for _, a := range addrs {
		if _, err := a.ValueForProtocol(ma.P_TCP); err == nil {
			first = append(first, a)
		} else {
			fallback = append(fallback, a)
		}
	}
	ranked := swarm.DefaultDialRanker(first)
	var offset time.Duration
	for _, r := range ranked {
		offset = max(offset, r.Delay+fallbackDelay)
	}
	for _, r := range swarm.DefaultDialRanker(fallback) {
		ranked = append(ranked, network.AddrDelay{Addr: r.Addr, Delay: r.Delay + offset})
	}
	return slices.Clip(ranked)
}
