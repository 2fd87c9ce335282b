package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	ma "github.com/multiformats/go-multiaddr"
)

// station is a host on a lan.
type station struct {
	host.Host // what nobody calls
	lan       *lan
	id        peer.ID
	ps        peerstore.Peerstore
	bus       event.Bus
	identify  event.Emitter
	protocols event.Emitter
	calls     chan func() // notifications, in order
	gone      chan struct{}
	done      sync.WaitGroup

	mu       sync.Mutex
	handlers []handler
	ends     map[peer.ID][]*end
	notes    []network.Notifiee
	down     bool
}

type handler struct {
	proto p2pproto.ID
	match func(p2pproto.ID) bool
	serve network.StreamHandler
}

// newStation puts a host on the lan.
func (n *lan) newStation(key crypto.PrivKey) (*station, error) {
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	ps, err := pstoremem.NewPeerstore()
	if err != nil {
		return nil, err
	}
	if err := ps.AddPrivKey(id, key); err != nil {
		return nil, err
	}
	s := &station{
		lan: n, id: id, ps: ps, bus: eventbus.NewBus(), ends: map[peer.ID][]*end{},
		calls: make(chan func(), 1024), gone: make(chan struct{}),
	}
	if s.identify, err = s.bus.Emitter(new(event.EvtPeerIdentificationCompleted)); err != nil {
		return nil, err
	}
	if s.protocols, err = s.bus.Emitter(new(event.EvtPeerProtocolsUpdated)); err != nil {
		return nil, err
	}
	s.done.Go(func() {
		for {
			select {
			case f := <-s.calls:
				f()
			case <-s.gone:
				return
			}
		}
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stations[id] = s
	return s, nil
}

// Close ends a host that may have been unplugged.
func (s *station) Close() error {
	s.unplug()
	close(s.gone)
	s.done.Wait()
	return errors.Join(s.identify.Close(), s.protocols.Close(), s.ps.Close())
}

// unplug takes the host off the lan; the others see its connections end.
func (s *station) unplug() {
	s.lan.mu.Lock()
	if s.lan.stations[s.id] == s {
		delete(s.lan.stations, s.id)
	}
	s.lan.mu.Unlock()
	s.mu.Lock()
	s.down = true
	ends := s.ends
	s.ends = map[peer.ID][]*end{}
	s.mu.Unlock()
	for _, to := range ends {
		for _, e := range to {
			e.line.end()
		}
	}
}

// later has f called in its turn.
func (s *station) later(f func()) {
	select {
	case s.calls <- f:
	case <-s.gone:
	}
}

// attach notes a connection; false if there is no host any more.
func (s *station) attach(e *end) bool {
	s.mu.Lock()
	if s.down {
		s.mu.Unlock()
		return false
	}
	s.ends[e.far.id] = append(s.ends[e.far.id], e)
	notes := slices.Clone(s.notes)
	s.mu.Unlock()
	s.later(func() {
		for _, n := range notes {
			n.Connected(switchboard{s: s}, e)
		}
		_ = s.identify.Emit(event.EvtPeerIdentificationCompleted{Peer: e.far.id, Conn: e, Protocols: e.far.offered()})
	})
	return true
}

func (s *station) detached(e *end) {
	s.mu.Lock()
	left := slices.DeleteFunc(slices.Clone(s.ends[e.far.id]), func(x *end) bool { return x == e })
	if s.ends[e.far.id] = left; len(left) == 0 {
		delete(s.ends, e.far.id)
	}
	notes := slices.Clone(s.notes)
	s.mu.Unlock()
	s.later(func() {
		for _, n := range notes {
			n.Disconnected(switchboard{s: s}, e)
		}
	})
}

func (s *station) endTo(p peer.ID) *end {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ends := s.ends[p]; len(ends) > 0 {
		return ends[len(ends)-1]
	}
	return nil
}

// drop ends the connections to p.
func (s *station) drop(p peer.ID) {
	s.mu.Lock()
	ends := slices.Clone(s.ends[p])
	s.mu.Unlock()
	for _, e := range ends {
		e.line.end()
	}
}

func (s *station) offered() (out []p2pproto.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.handlers {
		out = append(out, h.proto)
	}
	return out
}

func (s *station) ID() peer.ID                      { return s.id }
func (s *station) Peerstore() peerstore.Peerstore   { return s.ps }
func (s *station) Addrs() []ma.Multiaddr            { return []ma.Multiaddr{s.lan.addr(s.id)} }
func (s *station) Network() network.Network         { return switchboard{s: s} }
func (s *station) ConnManager() connmgr.ConnManager { return &connmgr.NullConnMgr{} }
func (s *station) EventBus() event.Bus              { return s.bus }

func (s *station) Connect(ctx context.Context, to peer.AddrInfo) error {
	if s.endTo(to.ID) != nil {
		return nil
	}
	_, err := s.lan.dial(ctx, s, to.ID)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	return nil
}

func (s *station) SetStreamHandler(p p2pproto.ID, serve network.StreamHandler) {
	s.SetStreamHandlerMatch(p, func(q p2pproto.ID) bool { return p == q }, serve)
}

func (s *station) SetStreamHandlerMatch(p p2pproto.ID, match func(p2pproto.ID) bool, serve network.StreamHandler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers = append(s.handlers, handler{p, match, serve})
	for _, ends := range s.ends {
		far := ends[0].far
		go far.later(func() {
			_ = far.protocols.Emit(event.EvtPeerProtocolsUpdated{Peer: s.id, Added: []p2pproto.ID{p}})
		})
	}
}

func (s *station) RemoveStreamHandler(p p2pproto.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers = slices.DeleteFunc(s.handlers, func(h handler) bool { return h.proto == p })
}

// choose returns the first of protos that is served here.
func (s *station) choose(protos []p2pproto.ID) (p2pproto.ID, network.StreamHandler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range protos {
		for _, h := range s.handlers {
			if h.match(p) {
				return p, h.serve
			}
		}
	}
	return "", nil
}

// NewStream opens a stream at once: the other side hears of it with the first bytes.
func (s *station) NewStream(ctx context.Context, to peer.ID, protos ...p2pproto.ID) (network.Stream, error) {
	e := s.endTo(to)
	if e == nil {
		if noDial, _ := network.GetNoDial(ctx); noDial {
			return nil, network.ErrNoConn
		}
		var err error
		if e, err = s.lan.dial(ctx, s, to); err != nil {
			return nil, err
		}
	}
	proto, serve := e.far.choose(protos)
	there, back := s.lan.cable(s.id, to), s.lan.cable(to, s.id)
	if serve == nil {
		delay, _, _ := there.state()
		if err := pause(ctx, 2*delay); err != nil {
			return nil, err
		}
		return nil, errors.New("protocols not supported")
	}
	a, b := newPipe(there), newPipe(back)
	if s.lan.tap != nil {
		a.tap, b.tap = s.lan.tap(way{s.id, to}, proto)
	}
	if s.lan.door != nil {
		a.door, b.door = s.lan.door(way{s.id, to}, proto)
	}
	near := &stream{at: e, proto: proto, in: b, out: a}
	far := &stream{at: e.line.ends[0], proto: proto, in: a, out: b}
	if far.at == e {
		far.at = e.line.ends[1]
	}
	if !e.add(near) || !far.at.add(far) {
		e.forget(near)
		return nil, network.ErrReset
	}
	go func() {
		if a.arrive() {
			serve(far)
		}
	}()
	return near, nil
}

// switchboard is the network of a station.
type switchboard struct {
	network.Network // what nobody calls
	s               *station
}

func (n switchboard) LocalPeer() peer.ID             { return n.s.id }
func (n switchboard) Peerstore() peerstore.Peerstore { return n.s.ps }
func (n switchboard) ClosePeer(p peer.ID) error      { n.s.drop(p); return nil }
func (n switchboard) StopNotify(network.Notifiee)    {}

func (n switchboard) Connectedness(p peer.ID) network.Connectedness {
	if n.s.endTo(p) != nil {
		return network.Connected
	}
	return network.NotConnected
}

func (n switchboard) Peers() (out []peer.ID) {
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	for p := range n.s.ends {
		out = append(out, p)
	}
	return out
}

func (n switchboard) ConnsToPeer(p peer.ID) []network.Conn {
	if e := n.s.endTo(p); e != nil {
		return []network.Conn{e}
	}
	return nil
}

func (n switchboard) Notify(f network.Notifiee) {
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	n.s.notes = append(n.s.notes, f)
}
