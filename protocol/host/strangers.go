package host

import (
	"slices"
	"sync"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pshare/p2pshare/protocol"
)

// Strangers counts the streams of each address on which nothing has been said
// yet that only a user can say, so that one address cannot make a process hold
// buffers for many: libp2p bounds connections by address, but streams by
// connection alone. As there, addresses of this machine are not counted. It is
// safe for concurrent use.
type Strangers struct {
	mu     sync.Mutex
	places map[string]int
}

// NewStrangers returns an empty count.
func NewStrangers() *Strangers { return &Strangers{places: map[string]int{}} }

// Enter counts a stream from an address in, unless the address has
// protocol.MaxStrangeStreams already. leave counts it out: when the other side
// has shown who it is, or the stream ends. It may be called more than once.
func (s *Strangers) Enter(from ma.Multiaddr) (leave func(), ok bool) {
	if from != nil && manet.IsIPLoopback(from) {
		return func() {}, true
	}
	place := AddressKey(from)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.places[place] >= protocol.MaxStrangeStreams {
		return nil, false
	}
	s.places[place]++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.places[place]--; s.places[place] == 0 {
			delete(s.places, place)
		}
	}), true
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
