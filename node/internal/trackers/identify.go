package trackers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol"
)

// identify learns the id of a tracker that is listed without one: a dial that
// expects somebody else tells who is there, and nothing else is said. The id
// counts when a listed tracker names it or the user confirms it.
func (c *Client) identify(ctx context.Context, t *tracker, ask bool) error {
	id, _, addrs, declined := c.known.identity(t)
	if id != "" {
		return nil
	}
	found, err := c.probe(ctx, addrs)
	if err != nil {
		return err
	}
	unknown := protocol.Errorf(protocol.CodeTrackerNew, "unknown tracker %s with id %s; confirm it, or start with --accept-new-trackers", t.address, found)
	if !c.known.trusted(found) {
		if c.cfg.Confirm == nil || !ask || declined {
			return unknown
		}
		select {
		case c.asking <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		defer func() { <-c.asking }()
		if id, _, _, declined = c.known.identity(t); id != "" {
			return nil // confirmed while this call waited
		}
		if declined || !c.cfg.Confirm(t.address, found.String()) {
			c.known.decline(t)
			return unknown
		}
	}
	line, err := addPin(c.cfg.PinFile, t.address, found)
	if err != nil {
		return protocol.Errorf(protocol.CodeState, "cannot remember the confirmed tracker: %w", err)
	}
	c.known.confirmed(t, found, line)
	log.Infow("tracker confirmed", "tracker", t.address, "peer", found)
	return nil
}

// probe returns who listens at the addresses. Each gets a dial of its own: a
// dial of several would wait for one behind a firewall in spite of what
// another one told.
func (c *Client) probe(ctx context.Context, addrs []ma.Multiaddr) (peer.ID, error) {
	ctx, cancel := context.WithTimeout(ctx, dialBudget)
	defer cancel()
	type answer struct {
		id  peer.ID
		err error
	}
	answers := make(chan answer, len(addrs))
	for _, a := range addrs {
		if !c.spawn(func() {
			id, err := c.probeOne(ctx, a)
			answers <- answer{id, err}
		}) {
			answers <- answer{err: errClosed}
		}
	}
	var first error
	for range addrs {
		a := <-answers
		if a.err == nil {
			return a.id, nil
		}
		if first == nil {
			first = a.err
		}
	}
	return "", first
}

func (c *Client) probeOne(ctx context.Context, addr ma.Multiaddr) (peer.ID, error) {
	_, public, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return "", fmt.Errorf("make a key to probe with: %w", err)
	}
	nobody, err := peer.IDFromPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("make an id to probe with: %w", err)
	}
	defer c.cfg.Host.Peerstore().ClearAddrs(nobody)
	err = c.cfg.Host.Connect(ctx, peer.AddrInfo{ID: nobody, Addrs: []ma.Multiaddr{addr}})
	if mismatch, ok := errors.AsType[sec.ErrPeerIDMismatch](err); ok {
		return mismatch.Actual, nil
	}
	if err == nil {
		err = errors.New("it claims an id that nobody has")
	}
	return "", err
}

// dialError turns the failure to connect to a tracker into E_TRACKER_ID if
// somebody else is there.
func (c *Client) dialError(t *tracker, pinLine int, err error) error {
	mismatch, differs := errors.AsType[sec.ErrPeerIDMismatch](err)
	if !differs {
		return err
	}
	where := ""
	switch {
	case pinLine > 0:
		where = fmt.Sprintf("; if that is right, delete line %d of %s", pinLine, c.cfg.PinFile)
	case t.listed && c.cfg.ListName != "":
		where = fmt.Sprintf("; if that is right, correct line %d of %s", t.entry.Line, c.cfg.ListName)
	}
	return protocol.Errorf(protocol.CodeTrackerID, "TRACKER IDENTITY CHANGED for %s: expected %s, got %s. Nothing was sent%s",
		t.address, mismatch.Expected, mismatch.Actual, where)
}
