// Package dial is protocol/dial under the name that clients have for it.
package dial

import (
	"context"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol/dial"
)

// Options bounds a dial.
type Options = dial.Options

// Connect is dial.Connect.
func Connect(ctx context.Context, h host.Host, id peer.ID, addrs []ma.Multiaddr, o Options) error {
	return dial.Connect(ctx, h, id, addrs, o)
}
