package rpc

import (
	"context"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/tracker/internal/presence"
)

// Call is a call of a client that has passed its checks, for tests in which
// something changes before it goes on.
type Call struct {
	s *Server
	c *call
}

// Checked passes the checks of a call.
func (s *Server) Checked(ctx context.Context, from peer.ID, envelope []byte) (*Call, error) {
	c := &call{remote: remote{id: from, text: from.String()}}
	return &Call{s, c}, s.authenticate(ctx, c, envelope)
}

// Admit opens a stream of events, but for its sending.
func (k *Call) Admit() error {
	a, err := k.s.admit(k.c)
	if err == nil {
		k.s.hub.remove(a)
	}
	return err
}

// Offer goes on with offers that were allowed.
func (k *Call) Offer(offers ...presence.Offer) (refused []presence.FileRef, ok bool) {
	return k.s.offer(k.c, offers, nil, nil)
}

// Streams is how many are registered.
func (s *Server) Streams() int { return len(s.hub.all()) }

// FillManifests takes all places for long manifests.
func (s *Server) FillManifests(ctx context.Context) error {
	for range uploadSlots {
		if err := s.holdManifest(ctx); err != nil {
			return err
		}
	}
	return nil
}
