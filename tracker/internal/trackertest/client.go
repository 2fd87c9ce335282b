// Package trackertest is a client for tests of trackers: it speaks the wire as
// any client may, without the comforts of package node. Only tests import it.
package trackertest

import (
	"context"
	"crypto/rand"
	"net/http"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/libp2p/go-libp2p/core/crypto"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/internal/calltest"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// Timeout is how long a test waits for what should take milliseconds.
const Timeout = 15 * time.Second

// Client is one client process of a user.
type Client struct {
	T       testing.TB
	Host    libp2phost.Host
	Session []byte      // envelope, nil before login
	User    []byte      // id
	Header  http.Header // of the last reply of Do; read it when no call is under way

	mu sync.Mutex // Header, written by calls side by side

	at       pb.TrackerServiceClient
	trackers map[peer.ID]pb.TrackerServiceClient
}

// New opens a client with a key of its own, attached to no tracker yet.
func New(t testing.TB) *Client {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(host.Options{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return Over(t, h)
}

// Over is New with a host of one's own, which stays the caller's to close.
func Over(t testing.TB, h libp2phost.Host) *Client {
	return &Client{T: t, Host: h, trackers: make(map[peer.ID]pb.TrackerServiceClient)}
}

// Use makes a tracker the one that the client talks to.
func (c *Client) Use(tracker peer.AddrInfo) *Client {
	if at, ok := c.trackers[tracker.ID]; ok {
		c.at = at
		return c
	}
	at, hangUp := calltest.Service(c.Host, tracker)
	c.T.Cleanup(hangUp)
	c.at = at
	c.trackers[tracker.ID] = c.at
	return c
}

// At returns the raw service of the tracker in use.
func (c *Client) At() pb.TrackerServiceClient { return c.at }

// ID returns the client's peer ID as trackers write it.
func (c *Client) ID() string { return c.Host.ID().String() }

// Do makes one call with the client's session and returns its error as what
// the tracker said.
func Do[Q, R any](c *Client, call func(context.Context, *connect.Request[Q]) (*connect.Response[R], error), msg *Q) (*R, error) {
	ctx, cancel := context.WithTimeout(c.T.Context(), Timeout)
	defer cancel()
	r, header, err := calltest.Do(ctx, c.Session, call, msg)
	if header != nil {
		c.noteHeader(header)
	}
	return r, err
}

func (c *Client) noteHeader(h http.Header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Header = h
}

// Sign puts the client's session into the headers of a call.
func (c *Client) Sign(h http.Header) { calltest.Sign(h, c.Session) }

// Failure returns what the tracker said, err itself if it said nothing.
func Failure(err error) error { return calltest.Said(err) }

// Nonce returns the bytes of a fresh one.
func Nonce() []byte {
	n := protocol.NewNonce()
	return n[:]
}

// Group names a group by name alone.
func Group(name string) *pb.GroupRef { return &pb.GroupRef{Name: name} }

// User names a user by name alone.
func User(name string) *pb.UserRef { return &pb.UserRef{Name: name} }
