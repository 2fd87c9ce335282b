package sim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
)

// idleTimeout is how long a connection outlives a cut, as with QUIC.
const idleTimeout = 30 * time.Second

var (
	errRefused = errors.New("connection refused")
	errLost    = errors.New("lost on its way")
)

// lan is a network in memory. Bytes take the delay of their cable; what is sent
// into a cut arrives when it heals, unless the connection has died of it.
type lan struct {
	// tap is asked about each stream, from who opens it, for what is told of
	// the bytes of either direction; nil: nobody listens.
	tap func(w way, proto p2pproto.ID) (there, back func([]byte))
	// door is asked about each stream as tap is, for what is asked about each write
	// before it goes out: a write that is refused fails, or is lost if with errLost.
	door func(w way, proto p2pproto.ID) (there, back func([]byte) error)

	mu       sync.Mutex
	stations map[peer.ID]*station // those that are up
	cables   map[way]*cable
	numbers  map[peer.ID]int // of hosts, for their addresses
}

// way is from one host to another.
type way struct{ from, to peer.ID }

func newLAN() *lan {
	return &lan{stations: map[peer.ID]*station{}, cables: map[way]*cable{}, numbers: map[peer.ID]int{}}
}

// lanAddr begins the addresses of all hosts on a lan.
const lanAddr = "/ip4/10.77.0."

// addr is the address of a host; it stays the same through restarts.
func (n *lan) addr(id peer.ID) ma.Multiaddr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.numbers[id] == 0 {
		n.numbers[id] = len(n.numbers) + 1
	}
	return ma.StringCast(fmt.Sprintf("%s%d/tcp/4001", lanAddr, n.numbers[id]))
}

// cable is one direction between two hosts.
type cable struct {
	mu      sync.Mutex
	delay   time.Duration
	cut     bool
	cuts    int           // so far
	changed chan struct{} // closed and made anew at each change
}

func (n *lan) cable(from, to peer.ID) *cable {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := way{from, to}
	if n.cables[w] == nil {
		n.cables[w] = &cable{delay: time.Millisecond, changed: make(chan struct{})}
	}
	return n.cables[w]
}

// state returns delay, whether it is cut, and what is closed when that changes.
func (c *cable) state() (time.Duration, bool, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.delay, c.cut, c.changed
}

func (c *cable) set(cut bool) (cuts int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut != cut {
		c.cut = cut
		c.cuts++
		close(c.changed)
		c.changed = make(chan struct{})
	}
	return c.cuts
}

func (c *cable) slow(delay time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delay = delay
}

// cut stops what goes from one host to another, silently. A connection that
// stays cut for idleTimeout ends.
func (n *lan) cut(from, to peer.ID) {
	c := n.cable(from, to)
	cuts := c.set(true)
	time.AfterFunc(idleTimeout, func() {
		c.mu.Lock()
		still := c.cut && c.cuts == cuts
		c.mu.Unlock()
		if !still {
			return
		}
		n.mu.Lock()
		s := n.stations[from]
		n.mu.Unlock()
		if s != nil {
			s.drop(to)
		}
	})
}

func (n *lan) heal(from, to peer.ID) { n.cable(from, to).set(false) }

// dial connects two hosts; the ends know of it when their hosts are told.
func (n *lan) dial(ctx context.Context, from *station, to peer.ID) (*end, error) {
	for {
		there, back := n.cable(from.id, to), n.cable(to, from.id)
		delay, cut, change := there.state()
		_, cutBack, changeBack := back.state()
		if !cut && !cutBack {
			if err := pause(ctx, 2*delay); err != nil {
				return nil, err
			}
			break
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-change:
		case <-changeBack:
		}
	}
	n.mu.Lock()
	s := n.stations[to]
	n.mu.Unlock()
	if s == nil {
		return nil, errRefused
	}
	l := &line{}
	l.ends[0] = &end{line: l, local: from, far: s, dir: network.DirOutbound, streams: map[*stream]bool{}}
	l.ends[1] = &end{line: l, local: s, far: from, dir: network.DirInbound, streams: map[*stream]bool{}}
	for _, e := range l.ends {
		if !e.local.attach(e) {
			l.end()
			return nil, errRefused
		}
	}
	return l.ends[0], nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// line is a connection.
type line struct {
	ends [2]*end
	once sync.Once
}

// end closes the connection at both ends.
func (l *line) end() {
	l.once.Do(func() {
		for _, e := range l.ends {
			e.detach()
		}
	})
}

// end is a host's side of a connection.
type end struct {
	network.Conn // what nobody calls
	line         *line
	local, far   *station
	dir          network.Direction

	mu      sync.Mutex
	streams map[*stream]bool
	dead    bool
}

func (e *end) RemotePeer() peer.ID { return e.far.id }
func (e *end) LocalPeer() peer.ID  { return e.local.id }
func (e *end) Close() error        { e.line.end(); return nil }

func (e *end) RemoteMultiaddr() ma.Multiaddr { return e.local.lan.addr(e.far.id) }
func (e *end) LocalMultiaddr() ma.Multiaddr  { return e.local.lan.addr(e.local.id) }

func (e *end) Stat() network.ConnStats {
	return network.ConnStats{Stats: network.Stats{Direction: e.dir}}
}

func (e *end) GetStreams() (out []network.Stream) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for s := range e.streams {
		out = append(out, s)
	}
	return out
}

// add notes a stream; false if the connection has ended.
func (e *end) add(s *stream) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.dead {
		e.streams[s] = true
	}
	return !e.dead
}

func (e *end) forget(s *stream) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.streams, s)
}

// detach ends the streams of this side and tells the host.
func (e *end) detach() {
	e.mu.Lock()
	e.dead = true
	all := e.streams
	e.streams = map[*stream]bool{}
	e.mu.Unlock()
	for s := range all {
		s.in.abort(network.ErrReset)
		s.out.abort(network.ErrReset)
	}
	e.local.detached(e)
}
