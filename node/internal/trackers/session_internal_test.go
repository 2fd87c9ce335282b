package trackers

import (
	"context"
	"crypto/rand"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

// A logout while a renewal is put in its place stays one.
func TestRenewalDoesNotUndoALogout(t *testing.T) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	fresh := &credential.Session{Peer: id, Issued: now, Expires: now.Add(time.Hour), RenewUntil: now.Add(time.Hour)}
	envelope, err := fresh.Seal(key)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := piped(t, &pb.UnimplementedTrackerServiceHandler{}, func(Signal) {})
	old := &session{}
	c.session = old
	c.cfg.Host = noHost{id: id}
	c.cfg.Now = func() time.Time { // the fresh session is being judged
		if err := c.ClearSession(false); err != nil {
			t.Error(err)
		}
		return now
	}
	if err := c.replace(old, &pb.LoginResponse{Session: envelope}); err == nil || c.currentSession() != nil || len(c.signals) > 0 {
		t.Errorf("got %v, the session is %v, signals %v", err, c.currentSession(), c.signals)
	}
}

// logouts refuses those of one session.
type logouts struct {
	pb.UnimplementedTrackerServiceHandler
	refuse string
	code   protocol.Code
}

func (l *logouts) Logout(_ context.Context, r *connect.Request[pb.LogoutRequest]) (*connect.Response[pb.ChangeResponse], error) {
	if r.Header().Get(protocol.HeaderSession) != l.refuse {
		return connect.NewResponse(&pb.ChangeResponse{Stored: &pb.Stored{}}), nil
	}
	ce := connect.NewError(connect.CodeFailedPrecondition, protocol.ErrSession)
	d, err := connect.NewErrorDetail(wire.ToFailure(protocol.Errorf(l.code, "no"), "ref"))
	if err == nil {
		ce.AddDetail(d)
	}
	return nil, ce
}

// A logout that trackers refuse for good keeps no other one waiting.
func TestRefusedLogoutIsPassedOver(t *testing.T) {
	for _, tt := range []struct {
		code protocol.Code
		left []string // pending in the end
		told bool     // the last one is
	}{
		{protocol.CodeForbidden, []string{"b"}, true},
		{protocol.CodeRate, []string{"b", "c", "d"}, false},
		{protocol.CodeSession, nil, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, tr := piped(t, &logouts{refuse: encodeSession([]byte("b")), code: tt.code}, func(Signal) {})
			c.known.hear(tr, time.Now())
			for _, e := range []string{"a", "b", "c", "d"} {
				c.pending = append(c.pending, []byte(e))
			}
			stored, err := c.TellLogouts(t.Context())
			var left []string
			for _, e := range c.pending {
				left = append(left, string(e))
			}
			if !slices.Equal(left, tt.left) || (err == nil) != (len(left) == 0) || (stored != nil) != tt.told {
				t.Errorf("%s: left %q, stored %v, %v, want %q", tt.code, left, stored, err, tt.left)
			}
		})
	}
}
