// Package dial connects to a peer in the order that tells soonest whether
// anybody is there. Trackers, the client of trackers and the node use it. It knows no
// protocol beyond the connection.
package dial

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
)

// Options bounds a dial.
type Options struct {
	// TCP and Other bound the dial over TCP and the one over anything else.
	TCP, Other time.Duration
	// Keep is for how long the addresses stay known after the dial, besides
	// what a connection itself keeps.
	Keep time.Duration
}

// Connect makes a connection unless there is one: over TCP, then over other
// transports if TCP leads nowhere. Where each address over TCP refuses or is
// somebody else's (sec.ErrPeerIDMismatch), that ends it: a dial over all at
// once would hide either until QUIC has given up waiting for an answer. One of
// several says nothing: a private address of the peer may be another machine
// here, or this one. Addresses known for the peer before are forgotten.
func Connect(ctx context.Context, h host.Host, id peer.ID, addrs []ma.Multiaddr, o Options) error {
	if h.Network().Connectedness(id) == network.Connected {
		return nil
	}
	if s, ok := h.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(id) // it would answer for minutes in place of a peer that is back
	}
	tcp, others := split(addrs)
	h.Peerstore().ClearAddrs(id) // those that identify told are of both kinds
	if o.Keep > 0 {
		defer h.Peerstore().AddAddrs(id, addrs, o.Keep)
	}
	one := func(budget time.Duration, addrs []ma.Multiaddr) error {
		ctx, cancel := context.WithTimeout(network.WithDialPeerTimeout(ctx, budget), budget)
		defer cancel()
		return h.Connect(ctx, peer.AddrInfo{ID: id, Addrs: addrs})
	}
	if len(tcp) == 0 {
		return one(o.Other, others)
	}
	err := one(o.TCP, tcp)
	if err == nil || len(others) == 0 || nobody(err) || ctx.Err() != nil {
		return err
	}
	return one(o.Other, others)
}

// nobody reports whether a dial failed because the peer is at none of the
// addresses, as far as can be known.
func nobody(err error) bool {
	dial, ok := errors.AsType[*swarm.DialError](err)
	if !ok || len(dial.DialErrors) == 0 || dial.Skipped > 0 {
		return false
	}
	for i := range dial.DialErrors {
		cause := dial.DialErrors[i].Cause
		_, mismatch := errors.AsType[sec.ErrPeerIDMismatch](cause)
		if !mismatch && !errors.Is(cause, syscall.ECONNREFUSED) && !errors.Is(cause, swarm.ErrDialToSelf) {
			return false
		}
	}
	return true
}

func split(addrs []ma.Multiaddr) (tcp, others []ma.Multiaddr) {
	for _, a := range addrs {
		if _, err := a.ValueForProtocol(ma.P_TCP); err == nil {
			tcp = append(tcp, a)
		} else {
			others = append(others, a)
		}
	}
	return tcp, others
}
