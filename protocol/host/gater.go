package host

import (
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/crypto/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// keyGater refuses peers with keys other than Ed25519: nobody of ours has one,
// and RSA costs a hundred times as much to verify.
type keyGater struct{}

func isEd25519(id peer.ID) bool {
	key, err := id.ExtractPublicKey()
	return err == nil && key.Type() == pb.KeyType_Ed25519
}

func (keyGater) InterceptPeerDial(id peer.ID) bool { return isEd25519(id) }

func (keyGater) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return true }

func (keyGater) InterceptAccept(network.ConnMultiaddrs) bool { return true }

func (keyGater) InterceptSecured(_ network.Direction, id peer.ID, _ network.ConnMultiaddrs) bool {
	return isEd25519(id)
}

func (keyGater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
