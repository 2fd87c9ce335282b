package main_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/libp2p/go-libp2p/core/crypto"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peerstore"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/gostream"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

// caller calls one tracker and no other, so that who has answered is known.
type caller struct {
	host    libp2phost.Host
	tracker roster.Entry
	at      pb.TrackerServiceClient
	session []byte
}

func newCaller(t *testing.T, tracker roster.Entry) *caller {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(host.Options{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	h.Peerstore().AddAddrs(tracker.ID, tracker.Addrs(), peerstore.PermanentAddrTTL)
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if s, ok := h.Network().(*swarm.Swarm); ok {
				s.Backoff().Clear(tracker.ID) // it was down a moment ago
			}
			return gostream.Dial(ctx, h, tracker.ID, p2pproto.ID(protocol.TrackerProtocol))
		},
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = h.Close()
	})
	return &caller{host: h, tracker: tracker, at: pb.NewTrackerServiceClient(&http.Client{Transport: transport}, "http://tracker")}
}

// ask makes one call, of at most 5 s.
func ask[Q, R any](ctx context.Context, c *caller, call func(context.Context, *connect.Request[Q]) (*connect.Response[R], error), msg *Q) (*R, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req := connect.NewRequest(msg)
	c.sign(req.Header())
	resp, err := call(ctx, req)
	if err != nil {
		return nil, said(err)
	}
	return resp.Msg, nil
}

// said returns what the tracker said, err itself if it said nothing.
func said(err error) error {
	e, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return err
	}
	for _, d := range e.Details() {
		if m, err := d.Value(); err == nil {
			if f, ok := m.(*pb.Failure); ok {
				return wire.FromFailure(f)
			}
		}
	}
	return err
}

func (c *caller) sign(h http.Header) {
	if c.session != nil {
		h.Set(protocol.HeaderSession, base64.StdEncoding.EncodeToString(c.session))
	}
}

func (c *caller) register(ctx context.Context, user string) error {
	nonce := protocol.NewNonce()
	_, err := ask(ctx, c, c.at.Register, &pb.RegisterRequest{Name: user, Password: password, Nonce: nonce[:]})
	return err
}

func (c *caller) login(ctx context.Context, user string) error {
	r, err := ask(ctx, c, c.at.Login, &pb.LoginRequest{Name: user, Password: password, Device: "test"})
	c.session = r.GetSession()
	return err
}

func (c *caller) logout(ctx context.Context) error {
	_, err := ask(ctx, c, c.at.Logout, &pb.LogoutRequest{})
	return err
}

func (c *caller) createGroup(ctx context.Context, name string) (id []byte, err error) {
	nonce := protocol.NewNonce()
	r, err := ask(ctx, c, c.at.CreateGroup, &pb.CreateGroupRequest{Name: name, Nonce: nonce[:]})
	return r.GetGroupId(), err
}

// share stores the manifest of a file of one piece and shares it, and tells on
// how many trackers that is.
func (c *caller) share(ctx context.Context, group []byte, groupName, file string) (on uint32, err error) {
	m := &protocol.Manifest{Name: file, Size: 1, PieceLength: protocol.PieceLength, Pieces: make([]protocol.PieceHash, 1)}
	copy(m.SHA1[:], file)
	data := m.Encode()
	id := protocol.ManifestID(data)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	stream := c.at.PutManifest(ctx)
	c.sign(stream.RequestHeader())
	// Why it could not be sent, the reply says.
	_ = stream.Send(&pb.PutManifestRequest{GroupId: group, FileId: id[:], Data: data})
	if _, err := stream.CloseAndReceive(); err != nil {
		return 0, said(err)
	}
	r, err := ask(ctx, c, c.at.ShareFile, &pb.ShareFileRequest{Group: &pb.GroupRef{Name: groupName, Id: group}, FileId: id[:]})
	return r.GetStored().GetStoredOn(), err
}

// files returns the names of all files of a group.
func (c *caller) files(ctx context.Context, group string) (map[string]bool, error) {
	names := map[string]bool{}
	for cursor := ""; ; {
		r, err := ask(ctx, c, c.at.ListFiles, &pb.ListFilesRequest{Group: &pb.GroupRef{Name: group}, Cursor: cursor})
		if err != nil {
			return nil, err
		}
		for _, f := range r.GetFiles() {
			names[f.GetName()] = true
		}
		if cursor = r.GetNext(); cursor == "" {
			return names, nil
		}
	}
}
