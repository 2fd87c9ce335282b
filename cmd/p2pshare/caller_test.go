package main_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/internal/calltest"
	"github.com/p2pshare/p2pshare/internal/promise"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/roster"
)

// caller calls one tracker and no other, so that who has answered is known.
type caller struct {
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
	at, hangUp := calltest.Service(h, peer.AddrInfo{ID: tracker.ID, Addrs: tracker.Addrs()})
	t.Cleanup(func() {
		hangUp()
		_ = h.Close()
	})
	return &caller{at: at}
}

// answerTime is how long one call may take.
var answerTime = promise.Within(5 * time.Second)

func ask[Q, R any](ctx context.Context, c *caller, call func(context.Context, *connect.Request[Q]) (*connect.Response[R], error), msg *Q) (*R, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	r, _, err := calltest.Do(ctx, c.session, call, msg)
	return r, err
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
	m := &protocol.Manifest{Name: file, Size: 1, PieceLength: protocol.MinPieceLength, Pieces: make([]protocol.PieceHash, 1)}
	copy(m.SHA1[:], file)
	data := m.Encode()
	id := protocol.ManifestID(data)
	put, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if _, err := calltest.Put(put, c.at, c.session, group, id, data); err != nil {
		return 0, err
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
