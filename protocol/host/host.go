// Package host opens the libp2p host of a process the way the project wants
// it: TLS before Noise, TCP before QUIC, large yamux windows, limits derived
// from one number. It also keeps the key and the lock of a data folder.
// Trackers and clients use it; it speaks no protocol of ours.
package host

import (
	"errors"
	"fmt"
	"math"
	"net"

	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pshare/p2pshare/protocol"
)

var log = logging.Logger("p2pshare/host")

// maxStreamWindow is how far the window of a stream grows, in bytes: 64 MiB.
// yamux doubles it, from 256 KiB, while half of it is used up within four
// round-trips, but of the two parts that a doubling adds to it go-yamux 5.1 tells
// the sender one. So in the end the sender has half of the window, and waits a
// round-trip each time that half is through: at 50 ms that took 30 % of the time
// with 32 MiB. Honest peers never fill it, so it costs no memory: what one is
// asked for ahead is much less. Only 256 KiB times a power of two will do: of
// another size the sender would have less than the half after which it is given
// more, and wait for ever.
const maxStreamWindow = 256 << 10 << 8

// Options says what to open.
type Options struct {
	Key crypto.PrivKey
	// Listen is TCP addresses; QUIC listens on the same port of UDP. Port 0
	// means any free one. Empty: the host only dials.
	Listen []ma.Multiaddr
	// MaxClients sizes a tracker's limits; 0 means a client's.
	MaxClients int
}

// New opens the host; the caller closes it. Errors: E_ADDR_IN_USE names the
// address, E_CONFIG one that this machine does not have.
func New(o Options) (host.Host, error) {
	files, known := OpenFiles()
	if !known {
		files = math.MaxInt32
	}
	resources, connections, err := newLimits(o.MaxClients, files)
	if err != nil {
		return nil, err
	}
	h, err := libp2p.New(
		libp2p.Identity(o.Key),
		libp2p.NoListenAddrs, // see listen
		libp2p.Security(libp2ptls.ID, newJoinedTLS),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, newMuxer()),
		// Without SO_REUSEPORT a second process on the same port is an error
		// here instead of a thief of half of the connections.
		libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport()),
		libp2p.Transport(libp2pquic.NewTransport),
		libp2p.SwarmOpts(swarm.WithDialRanker(rankDials)),
		libp2p.UserAgent(protocol.UserAgent),
		libp2p.ResourceManager(resources),
		libp2p.ConnectionManager(connections),
		libp2p.ConnectionGater(keyGater{}),
		// After a hundred dials in vain, in a cut of some minutes, libp2p would take
		// all of UDP or IPv6 for blocked and try it once in a hundred times only.
		libp2p.UDPBlackHoleSuccessCounter(nil),
		libp2p.IPv6BlackHoleSuccessCounter(nil),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
	)
	if err != nil {
		return nil, fmt.Errorf("open the libp2p host: %w", err)
	}
	for _, addr := range o.Listen {
		if err := listen(h, addr); err != nil {
			return nil, errors.Join(err, h.Close())
		}
	}
	return h, nil
}

func newMuxer() *yamux.Transport {
	muxer := *yamux.DefaultTransport
	muxer.MaxStreamWindowSize = maxStreamWindow
	return &muxer
}

// listen binds the TCP address, then QUIC on the port that came of it. That
// UDP port may be taken by somebody else: then TCP has to do.
func listen(h host.Host, addr ma.Multiaddr) error {
	network, ok := h.Network().(interface{ AddListenAddr(ma.Multiaddr) error })
	if !ok {
		return errors.New("the libp2p network cannot listen")
	}
	before := h.Network().ListenAddresses()
	if err := network.AddListenAddr(addr); err != nil {
		return listenError(addr, err)
	}
	bound := addr
	for _, a := range h.Network().ListenAddresses() {
		if _, err := a.ValueForProtocol(ma.P_TCP); err == nil && !ma.Contains(before, a) {
			bound = a
		}
	}
	quic, err := quicAddr(bound)
	if err == nil {
		err = network.AddListenAddr(quic)
	}
	if err != nil {
		log.Warnw("not listening on UDP, others reach this process by TCP only", "addr", bound, "err", err)
	}
	return nil
}

// quicAddr turns /ip4/1.2.3.4/tcp/5 into /ip4/1.2.3.4/udp/5/quic-v1.
func quicAddr(addr ma.Multiaddr) (ma.Multiaddr, error) {
	netAddr, err := manet.ToNetAddr(addr)
	if err != nil {
		return nil, err
	}
	tcpAddr, ok := netAddr.(*net.TCPAddr)
	if !ok {
		return nil, fmt.Errorf("not a TCP address: %s", addr)
	}
	udp, err := manet.FromNetAddr(&net.UDPAddr{IP: tcpAddr.IP, Port: tcpAddr.Port, Zone: tcpAddr.Zone})
	if err != nil {
		return nil, err
	}
	quic, err := ma.NewComponent("quic-v1", "")
	if err != nil {
		return nil, err
	}
	return udp.AppendComponent(quic), nil
}

func listenError(addr ma.Multiaddr, err error) error {
	name := addr.String()
	if a, convErr := manet.ToNetAddr(addr); convErr == nil {
		name = a.String()
	}
	if isAddrInUse(err) {
		return &protocol.Error{
			Code: protocol.CodeAddrInUse,
			Msg:  name + " is in use by another program; choose another port or end that program",
		}
	}
	return protocol.Errorf(protocol.CodeConfig, "cannot listen on %s: %w", name, err)
}
