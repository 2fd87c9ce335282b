package piece_test

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/internal/promise"
	"github.com/p2pshare/p2pshare/node/internal/gate"
	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestRefusalsTellNothing(t *testing.T) {
	f := newFile(1)
	_, to := seed(t, serving(f))
	from := newHost(t)
	answer := func(ticket string, id protocol.FileID) []byte {
		b, err := io.ReadAll(rawOpen(t, from, to, ticket, id))
		if err != nil {
			t.Fatalf("ticket %q: %v", ticket, err)
		}
		return b
	}
	member := answer("good", protocol.FileID{9})
	for name, got := range map[string][]byte{
		"a file that is here": answer("forged", theFile),
		"a file that is not":  answer("forged", protocol.FileID{9}),
		"no ticket":           answer("", theFile),
	} {
		if len(got) == 0 || !bytes.Equal(got, member) {
			t.Errorf("%s: answer %x, want %x", name, got, member)
		}
	}
	tests := []struct {
		ticket string
		want   protocol.Code
	}{
		{ticket: "forged", want: protocol.CodeNotMember},
		{ticket: "expired", want: protocol.CodeSession},
	}
	for _, tt := range tests {
		_, e := leech(t, from, to, f, tt.ticket)
		if end := want[piece.Closed](t, e); protocol.CodeOf(end.Err) != tt.want {
			t.Errorf("ticket %q: closed with %v, want %s", tt.ticket, end.Err, tt.want)
		}
	}
}

func TestGrantsEnd(t *testing.T) {
	tests := []struct {
		name  string
		steps func(t *testing.T, a *admission, c *piece.Conn, s *piece.Server)
		stays bool
	}{
		{name: "expiry", steps: func(_ *testing.T, a *admission, _ *piece.Conn, _ *piece.Server) {
			a.set(time.Hour+time.Second, time.Hour)
		}},
		{name: "expiry in a time of grace", stays: true, steps: func(t *testing.T, a *admission, _ *piece.Conn, _ *piece.Server) {
			a.set(time.Hour+time.Second, 5*time.Hour)
			a.awaitAsked(t, 2)
		}},
		{name: "renewal", stays: true, steps: func(t *testing.T, a *admission, c *piece.Conn, _ *piece.Server) {
			a.set(0, 2*time.Hour)
			c.Renew([]byte("good and new"))
			a.awaitAsked(t, 2)
			a.set(90*time.Minute, 0)
		}},
		{name: "renewal for another group", steps: func(_ *testing.T, _ *admission, c *piece.Conn, _ *piece.Server) {
			c.Renew([]byte("other group"))
		}},
		{name: "renewal that is refused", steps: func(_ *testing.T, _ *admission, c *piece.Conn, _ *piece.Server) {
			c.Renew([]byte("forged"))
		}},
		{name: "too many renewals", steps: func(_ *testing.T, _ *admission, c *piece.Conn, _ *piece.Server) {
			for i := range 20 {
				c.Renew(fmt.Append(nil, "good ", i))
			}
		}},
		{name: "the same ticket again and again", stays: true, steps: func(t *testing.T, a *admission, c *piece.Conn, _ *piece.Server) {
			for range 50 {
				c.Renew([]byte("good"))
			}
			c.Renew([]byte("good and new"))
			for range 50 {
				c.Renew([]byte("good and new"))
			}
			a.awaitAsked(t, 2)
		}},
		{name: "withdrawn from others", stays: true, steps: func(_ *testing.T, _ *admission, _ *piece.Conn, s *piece.Server) {
			s.CloseWhere(func(g gate.Grant, _ protocol.FileID) bool { return g.Group != theGroup })
		}},
		{name: "withdrawn", steps: func(_ *testing.T, _ *admission, _ *piece.Conn, s *piece.Server) {
			s.CloseWhere(func(g gate.Grant, id protocol.FileID) bool { return g.Group == theGroup && id == theFile })
		}},
		{name: "server closed", steps: func(t *testing.T, _ *admission, _ *piece.Conn, s *piece.Server) {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}},
	}
	from := newHost(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFile(1)
			a := newAdmission(f)
			s, to := seed(t, a.config())
			c, e := leech(t, from, to, f, "good")
			want[piece.Bitfield](t, e)
			began := time.Now()
			tt.steps(t, a, c, s)
			if tt.stays {
				c.Request(0)
				want[piece.Received](t, e).Data.Release()
				return
			}
			if end := want[piece.Closed](t, e); end.Err == nil {
				t.Error("closed without a reason")
			}
			if took := time.Since(began); took > promise.Within(3*time.Second) {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestCloseWhereWithinAPiece(t *testing.T) {
	f := newFile(2 * protocol.PieceLength)
	var once sync.Once
	inside, release := make(chan struct{}), make(chan struct{})
	f.before = func(off int64) error {
		if off >= protocol.PieceLength/2 {
			once.Do(func() { close(inside) })
			<-release
		}
		return nil
	}
	s, to := seed(t, serving(f))
	c, e := leech(t, newHost(t), to, f, "good")
	defer close(release)
	want[piece.Bitfield](t, e)
	c.Request(0)
	<-inside
	began := time.Now()
	s.CloseWhere(func(g gate.Grant, _ protocol.FileID) bool { return g.Peer != "" })
	if end := want[piece.Closed](t, e); end.Err == nil || protocol.CodeOf(end.Err) == protocol.CodeNotMember {
		t.Errorf("closed with %v, want the end of the stream", end.Err)
	}
	if took := time.Since(began); took > promise.Within(time.Second) {
		t.Errorf("it took %v, want 1 s at most", took)
	}
}
