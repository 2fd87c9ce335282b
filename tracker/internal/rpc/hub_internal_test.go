package rpc

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

func TestSlowClientIsEnded(t *testing.T) {
	a := &attached{events: make(chan *pb.Event, 2), done: make(chan struct{})}
	for i := range 3 {
		select {
		case <-a.done:
			t.Fatalf("ended before event %d", i)
		default:
		}
		a.send(&pb.Event{})
	}
	select {
	case <-a.done:
	default:
		t.Fatal("still open with a full queue")
	}
	if protocol.CodeOf(a.err) != protocol.CodeBusy {
		t.Errorf("ended with %v, want E_BUSY", a.err)
	}
}

// News over which the tracker stumbles are not the end of it: clients come again.
func TestPanicOverNews(t *testing.T) {
	a := &attached{done: make(chan struct{})}
	h := &hub{byPeer: map[string]*attached{"a": a}} // its pusher is not made
	h.look(news{facts: []catalog.Fact{{}}})
	select {
	case <-a.done:
	default:
		t.Fatal("the client is not told to come again")
	}
	if protocol.CodeOf(a.err) != protocol.CodeBusy {
		t.Errorf("ended with %v, want E_BUSY", a.err)
	}
}

// What is remembered of tries at names that nobody has does not grow with them.
func TestNobodyIsBounded(t *testing.T) {
	for _, name := range []string{"ada", strings.Repeat("x", 65), strings.Repeat("x", 66), strings.Repeat("x", protocol.MaxRequest)} {
		if got := nobody(name); len(got) > 70 {
			t.Errorf("a name of %d bytes is remembered by %d bytes", len(name), len(got))
		}
	}
	if nobody("Ada") != nobody("ada") || nobody("ada") == nobody("bob") {
		t.Error("names are not told apart as accounts are")
	}
}

func TestOutdated(t *testing.T) {
	s := protocol.Stamp{Wall: 5, Origin: "a"}
	tests := []struct {
		name            string
		resets, changes uint32
		stamp           protocol.Stamp
		want            bool
	}{
		{"the same verifier", 1, 2, s, false},
		{"another one of the same epoch", 1, 2, protocol.Stamp{Wall: 5, Origin: "b"}, true},
		{"fewer changes", 1, 1, s, true},
		{"fewer resets, more changes", 0, 9, s, true},
		{"the tracker is behind by a change", 1, 3, protocol.Stamp{Wall: 9, Origin: "b"}, false},
		{"the tracker is behind by a reset", 2, 0, protocol.Stamp{Wall: 9, Origin: "b"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			session := &credential.Session{Resets: tt.resets, Changes: tt.changes, Verifier: tt.stamp}
			if got := outdated(session, catalog.Verifier{Resets: 1, Changes: 2, Set: s}); got != tt.want {
				t.Errorf("outdated = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestReachable(t *testing.T) {
	addrs := []string{"/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1", "/ip6/fe80::1/tcp/1", "/ip4/192.168.0.2/tcp/1", "/ip4/203.0.113.7/udp/1/quic-v1"}
	tests := []struct{ name, from, want string }{
		{"from this machine", "/ip4/127.0.0.1/tcp/9", fmt.Sprint(addrs)},
		{"from elsewhere", "/ip4/203.0.113.9/tcp/9", "[/ip4/192.168.0.2/tcp/1 /ip4/203.0.113.7/udp/1/quic-v1]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from, err := ma.NewMultiaddr(tt.from)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(reachable(addrs, remote{addr: from})); got != tt.want {
				t.Errorf("reachable = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestPanicBecomesAReference(t *testing.T) {
	err := (&Server{}).recovered(context.Background(), connect.Spec{Procedure: "/x/Y"}, http.Header{}, "secret in a panic")
	if connect.CodeOf(err) != connect.CodeInternal {
		t.Fatalf("recovered = %v", err)
	}
	e, ok := err.(*connect.Error) //nolint:errorlint // made just now
	if !ok || len(e.Details()) != 1 || e.Message() == "secret in a panic" {
		t.Errorf("recovered = %v, want a Failure with a reference alone", err)
	}
}

// An envelope in a request that was overtaken does not take the place of a newer one.
func TestRefreshKeepsTheNewest(t *testing.T) {
	h := newHub(&Server{cfg: Config{MaxClients: 1}})
	now := time.Now()
	old := &credential.Session{ID: protocol.SessionID{1}, Expires: now.Add(time.Hour)}
	changed := &credential.Session{ID: protocol.SessionID{1}, Changes: 1, Expires: now.Add(time.Hour)}
	other := &credential.Session{ID: protocol.SessionID{2}, Changes: 9, Expires: now.Add(time.Hour)}
	a, err := h.add(&call{remote: remote{text: "p"}, session: old})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*credential.Session{changed, old, other} {
		h.refresh("p", s)
	}
	if a.session != changed {
		t.Errorf("session of the stream = %+v, want the one of the new password", a.session)
	}
	if _, err := h.add(&call{remote: remote{text: "q"}, session: other}); protocol.CodeOf(err) != protocol.CodeBusy {
		t.Errorf("a client too many: %v, want E_BUSY", err)
	}
}
