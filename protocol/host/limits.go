package host

import (
	"errors"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/libp2p/go-libp2p/x/rate"

	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// connsPerAddress lets a classroom behind one address in, and one machine
	// not take all there is.
	connsPerAddress = 256
	// connRate is new connections of one address in a second, beyond a burst
	// of connsPerAddress.
	connRate = 10
	// controlStreamsPerClient is calls of one client under way at a tracker.
	controlStreamsPerClient = 16
	// clientConns bounds the connections of a client's process.
	clientConns = 512
	// clientPeerMemory lets the window of one stream reach 64 MiB: yamux grows
	// windows only within half of what the peer may take.
	clientPeerMemory = 136 << 20
	// otherFiles is open files of a tracker that are no connections of others to it:
	// its catalog, its log, what it listens on, and its own to other trackers, of
	// which ownFiles are not for connections at all.
	otherFiles = 100
	ownFiles   = 32
	// connGrace is how long a new connection at a tracker is safe from trimming.
	connGrace = time.Minute
	// clientGrace is the same at a client, where an honest peer opens its stream
	// within protocol.OpenTimeout: strangers who fill the place with connections
	// on which they say nothing do not keep it for longer.
	clientGrace = 2 * protocol.OpenTimeout
)

// newLimits sizes a tracker for maxClients clients, or a client for 0. The
// figures do not depend on the machine, so that a tracker serves what its
// option says wherever it runs; but whoever connects to a tracker leaves it some
// of the files that it may have open.
func newLimits(maxClients, files int) (network.ResourceManager, *connmgr.BasicConnMgr, error) {
	config, grace, low, high := clientLimits(), clientGrace, clientConns*5/8, clientConns*3/4
	if maxClients > 0 {
		inbound := 3*maxClients + 64
		grace = connGrace
		low, high = 2*maxClients+maxClients/2+64, inbound
		if room := max(files-otherFiles, 64); room < inbound {
			// Idle connections are given up before there is no room for a new one.
			inbound, low, high = room, room-room/4, room-room/8
		}
		config = trackerLimits(maxClients, inbound)
		config.System.FD = min(config.System.FD, rcmgr.LimitVal(max(files-ownFiles, 64)))
	}
	defaults := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&defaults)
	// What is not set below is as on a machine of 1 GiB with 4,096 descriptors.
	concrete := config.Build(defaults.Scale(1<<30, 4096))
	resources, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(concrete),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: connsPerAddress}},
			[]rcmgr.ConnLimitPerSubnet{
				{PrefixLength: 56, ConnCount: connsPerAddress},
				{PrefixLength: 48, ConnCount: 4 * connsPerAddress},
			}),
		rcmgr.WithConnRateLimiters(connRateLimiter()),
	)
	if err != nil {
		return nil, nil, err
	}
	connections, err := connmgr.NewConnManager(low, high, connmgr.WithGracePeriod(grace))
	if err != nil {
		return nil, nil, errors.Join(err, resources.Close())
	}
	return resources, connections, nil
}

func connRateLimiter() *rate.Limiter {
	perAddress := rate.Limit{RPS: connRate, Burst: connsPerAddress}
	return &rate.Limiter{
		// The zero limit is none.
		NetworkPrefixLimits: []rate.PrefixLimit{
			{Prefix: netip.MustParsePrefix("127.0.0.0/8")},
			{Prefix: netip.MustParsePrefix("::1/128")},
		},
		SubnetRateLimiter: rate.SubnetLimiter{
			IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: perAddress}},
			IPv6SubnetLimits: []rate.SubnetLimit{
				{PrefixLength: 56, Limit: perAddress},
				{PrefixLength: 48, Limit: rate.Limit{RPS: 4 * connRate, Burst: 4 * connsPerAddress}},
			},
			GracePeriod: time.Minute,
		},
	}
}

// trackerLimits allows each client three connections (one it uses, one that
// dies, one that takes its place), as far as inbound goes, and four streams of the
// memory that a stream begins with (256 KiB).
func trackerLimits(clients, inbound int) rcmgr.PartialLimitConfig {
	conns := scope{in: inbound, out: clients + 64}
	streams := scope{in: 12*clients + 256, out: 4*clients + 256}
	memory := rcmgr.LimitVal64(256<<20 + int64(clients)<<20)
	config := common(conns, streams, memory)
	config.PeerDefault = rcmgr.ResourceLimits{
		Conns: 8, ConnsInbound: 8, ConnsOutbound: 8, FD: 8,
		Streams: 192, StreamsInbound: 96, StreamsOutbound: 96,
		Memory: 32 << 20,
	}
	config.ProtocolPeer = map[p2pproto.ID]rcmgr.ResourceLimits{
		protocol.TrackerProtocol: {
			StreamsInbound:  controlStreamsPerClient,
			StreamsOutbound: controlStreamsPerClient,
			Streams:         controlStreamsPerClient,
			Memory:          rcmgr.Unlimited64,
		},
	}
	return config
}

func clientLimits() rcmgr.PartialLimitConfig {
	conns := scope{in: clientConns, out: clientConns}
	streams := scope{in: 4 * clientConns, out: 4 * clientConns}
	config := common(conns, streams, 512<<20)
	config.PeerDefault = rcmgr.ResourceLimits{
		Conns: 8, ConnsInbound: 8, ConnsOutbound: 8, FD: 8,
		Streams: 96, StreamsInbound: 48, StreamsOutbound: 48,
		Memory: clientPeerMemory,
	}
	return config
}

// scope is how many of something a process may have, by who opened it.
type scope struct{ in, out int }

func (s scope) of(parts int) (in, out, total rcmgr.LimitVal) {
	in, out = rcmgr.LimitVal(max(s.in/parts, 64)), rcmgr.LimitVal(max(s.out/parts, 64))
	return in, out, in + out
}

// common bounds the whole process; within that no protocol is favoured, except
// that connections which have not yet said who they are get an eighth, and
// identify, which every new connection runs, a quarter.
func common(conns, streams scope, memory rcmgr.LimitVal64) rcmgr.PartialLimitConfig {
	system := rcmgr.ResourceLimits{Memory: memory}
	system.ConnsInbound, system.ConnsOutbound, system.Conns = conns.of(1)
	system.StreamsInbound, system.StreamsOutbound, system.Streams = streams.of(1)
	system.FD = system.Conns + 256

	transient := rcmgr.ResourceLimits{Memory: max(memory/8, 64<<20)}
	transient.ConnsInbound, transient.ConnsOutbound, transient.Conns = conns.of(8)
	transient.StreamsInbound, transient.StreamsOutbound, transient.Streams = streams.of(8)
	transient.FD = transient.Conns

	shared := rcmgr.ResourceLimits{Memory: memory}
	shared.StreamsInbound, shared.StreamsOutbound, shared.Streams = streams.of(1)

	identifying := rcmgr.ResourceLimits{Memory: 64 << 20}
	identifying.StreamsInbound, identifying.StreamsOutbound, identifying.Streams = streams.of(4)

	unlimited := rcmgr.ResourceLimits{
		Streams: rcmgr.Unlimited, StreamsInbound: rcmgr.Unlimited, StreamsOutbound: rcmgr.Unlimited,
		Memory: rcmgr.Unlimited64,
	}
	return rcmgr.PartialLimitConfig{
		System:          system,
		Transient:       transient,
		ServiceDefault:  shared,
		ProtocolDefault: shared,
		Service:         map[string]rcmgr.ResourceLimits{identify.ServiceName: identifying},
		Protocol: map[p2pproto.ID]rcmgr.ResourceLimits{
			identify.ID:     identifying,
			identify.IDPush: identifying,
		},
		// The peer's own limit is the narrower one.
		ProtocolPeerDefault: unlimited,
		ServicePeerDefault:  unlimited,
	}
}
