package sim

import (
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
	ma "github.com/multiformats/go-multiaddr"
)

// fabric is what hosts are connected by. Delays and cuts are one way.
type fabric interface {
	// open makes a host, which was there before perhaps. Closing it is a crash.
	open(key crypto.PrivKey) (host.Host, error)
	// info is how others reach it, there or not.
	info(id peer.ID) peer.AddrInfo
	cut(from, to peer.ID)
	heal(from, to peer.ID)
	slow(from, to peer.ID, delay time.Duration)
	close()
}

func (n *lan) open(key crypto.PrivKey) (host.Host, error) { return n.newStation(key) }
func (n *lan) slow(from, to peer.ID, d time.Duration)     { n.cable(from, to).slow(d) }
func (n *lan) close()                                     {}

func (n *lan) info(id peer.ID) peer.AddrInfo {
	return peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{n.addr(id)}}
}

// never is the delay of what does not arrive.
const never = 10_000 * time.Hour

// packets is simnet with hosts of libp2p on it, which speak QUIC.
type packets struct {
	net *simnet.Simnet

	mu     sync.Mutex
	ips    map[peer.ID]net.IP
	delays map[[2]string]time.Duration // by IP, from and to; default a millisecond
	cuts   map[[2]string]bool
}

func newPackets() *packets {
	p := &packets{ips: map[peer.ID]net.IP{}, delays: map[[2]string]time.Duration{}, cuts: map[[2]string]bool{}}
	p.net = &simnet.Simnet{LatencyFunc: p.delay, Logger: slog.New(slog.DiscardHandler)}
	p.net.Start()
	return p
}

func (p *packets) delay(pkt *simnet.Packet) time.Duration {
	from, fromOK := pkt.From.(*net.UDPAddr)
	to, toOK := pkt.To.(*net.UDPAddr)
	if !fromOK || !toOK {
		return never
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	way := [2]string{from.IP.String(), to.IP.String()}
	if p.cuts[way] {
		return never
	}
	if d, ok := p.delays[way]; ok {
		return d
	}
	return time.Millisecond
}

// ip is the address of a host; it stays the same through restarts.
func (p *packets) ip(id peer.ID) net.IP {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ips[id] == nil {
		p.ips[id] = simnet.IntToPublicIPv4(len(p.ips))
	}
	return p.ips[id]
}

func (p *packets) way(from, to peer.ID) [2]string {
	return [2]string{p.ip(from).String(), p.ip(to).String()}
}

func (p *packets) info(id peer.ID) peer.AddrInfo {
	return peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{ma.StringCast(fmt.Sprintf("/ip4/%s/udp/8000/quic-v1", p.ip(id)))}}
}

func (p *packets) open(key crypto.PrivKey) (host.Host, error) {
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	fast := simnet.LinkSettings{BitsPerSecond: 1000 * simlibp2p.OneMbps}
	return libp2p.New(libp2p.Identity(key), libp2p.ListenAddrs(p.info(id).Addrs...),
		libp2p.UDPBlackHoleSuccessCounter(nil), libp2p.IPv6BlackHoleSuccessCounter(nil), // as protocol/host has it
		libp2p.Transport(libp2pquic.NewTransport),
		simlibp2p.QUICSimnet(p.net, simnet.NodeBiDiLinkSettings{Downlink: fast, Uplink: fast}),
		libp2p.DisableIdentifyAddressDiscovery(), libp2p.DisableRelay(), libp2p.DisableMetrics(),
		libp2p.ResourceManager(&network.NullResourceManager{}),
	)
}

func (p *packets) cut(from, to peer.ID)  { p.set(from, to, true) }
func (p *packets) heal(from, to peer.ID) { p.set(from, to, false) }

func (p *packets) set(from, to peer.ID, cut bool) {
	way := p.way(from, to)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts[way] = cut
}

func (p *packets) slow(from, to peer.ID, delay time.Duration) {
	way := p.way(from, to)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delays[way] = delay
}

func (p *packets) close() { p.net.Close() }
