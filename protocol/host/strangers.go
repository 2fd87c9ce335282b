package host

import (
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pshare/p2pshare/protocol"
)

// Strangers counts the streams of each address on which nothing has been said
// yet that only a user can say, so that one address cannot make a process hold
// buffers for many: libp2p bounds connections by address, but streams by
// connection alone. As there, addresses of this machine are not counted, nor is
// a peer that has shown who it is on another stream. It is safe for concurrent use.
type Strangers struct {
	mu     sync.Mutex
	places map[string]int  // streams of strangers
	users  map[peer.ID]int // streams of peers that are none
}

// NewStrangers returns an empty count.
func NewStrangers() *Strangers {
	return &Strangers{places: map[string]int{}, users: map[peer.ID]int{}}
}

// Visit is one stream that was let in. Its methods may be called more than once,
// and from several goroutines.
type Visit struct {
	s     *Strangers
	peer  peer.ID
	place string // "" if it is not counted
	user  bool
	left  bool
}

// Enter lets a stream of a connection in, unless the address has
// protocol.MaxStrangeStreams already. Then the caller does well to close the
// connection: connections are let in slowly, streams are not.
func (s *Strangers) Enter(c network.Conn) (*Visit, bool) {
	from := c.RemoteMultiaddr()
	v := &Visit{s: s, peer: c.RemotePeer()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if (from != nil && manet.IsIPLoopback(from)) || s.users[v.peer] > 0 {
		return v, true
	}
	place := AddressKey(from)
	if s.places[place] >= protocol.MaxStrangeStreams {
		return nil, false
	}
	v.place = place
	s.places[place]++
	return v, true
}

// Known tells that the other side has shown who it is.
func (v *Visit) Known() {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	if v.user || v.left {
		return
	}
	v.user = true
	v.s.users[v.peer]++
	v.uncount()
}

// Leave tells that the stream has ended.
func (v *Visit) Leave() {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	if v.left {
		return
	}
	v.left = true
	v.uncount()
	if !v.user {
		return
	}
	if v.s.users[v.peer]--; v.s.users[v.peer] == 0 {
		delete(v.s.users, v.peer)
	}
}

// uncount takes the stream out of those of its address. v.s.mu is held.
func (v *Visit) uncount() {
	if v.place == "" {
		return
	}
	if v.s.places[v.place]--; v.s.places[v.place] == 0 {
		delete(v.s.places, v.place)
	}
	v.place = ""
}

// AddressKey returns what stands for the place that a client comes from: the
// IPv4 address, or the first 56 bits of the IPv6 address, which is what one
// household gets. Peer IDs are free to make and are never the only key.
func AddressKey(addr ma.Multiaddr) string {
	if addr == nil {
		return "unknown"
	}
	ip, err := manet.ToIP(addr)
	if err != nil {
		return "unknown"
	}
	if v4 := ip.To4(); v4 != nil {
		return v4.String()
	}
	prefix := slices.Clone(ip[:16])
	clear(prefix[7:])
	return prefix.String() + "/56"
}
