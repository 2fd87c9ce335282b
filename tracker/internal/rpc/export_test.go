package rpc

import (
	"context"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
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

// ShownBy reports whether a call counts as one of somebody known.
func (s *Server) ShownBy(ctx context.Context, from peer.ID, procedure string, envelope []byte) (known bool, err error) {
	ctx = context.WithValue(ctx, remoteKey{}, remote{id: from, text: from.String(), known: func() { known = true }})
	_, err = s.begin(ctx, procedure, http.Header{protocol.HeaderSession: {base64.StdEncoding.EncodeToString(envelope)}})
	return known, err
}

// Offer goes on with offers that were allowed.
func (k *Call) Offer(offers ...presence.Offer) (refused []presence.FileRef, ok bool) {
	return k.s.offer(k.c, offers, nil, nil)
}

// Streams is how many are registered.
func (s *Server) Streams() int { return len(s.hub.all()) }

// FillManifests takes all places for long manifests.
func (s *Server) FillManifests(ctx context.Context) error {
	for _, p := range []*places{s.uploads, s.fetches} {
		for i := range placeCount {
			if _, err := p.take(ctx, protocol.UserID{255, byte(i)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// LongUploads is how many long manifests are just being sent by clients.
func (s *Server) LongUploads() int { return s.uploads.count() }

// Fetches is how many manifests are fetched from another tracker just now.
func (s *Server) Fetches() int { return s.fetches.count() }

func (p *places) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.held)
}

// SetUploadLife must come before the first upload.
func (s *Server) SetUploadLife(d time.Duration) { s.uploads.life = d }
