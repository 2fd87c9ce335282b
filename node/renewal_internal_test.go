package node

import (
	"bytes"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
)

// A renewed session is kept, unless that of a new password has come first.
func TestRenewalAfterANewPassword(t *testing.T) {
	r := testRecords(t)
	m := new(fakes)
	c, h := m.client(t, r, m.serve(t, 1))
	key := testKey(t)
	session := func(changes uint32) []byte {
		t.Helper()
		now := time.Now()
		s := credential.Session{
			Network: protocol.NetworkID{7}, User: protocol.UserID{1}, ID: protocol.SessionID{1}, Peer: h.ID(), Changes: changes,
			Issued: now, Expires: now.Add(time.Hour), RenewUntil: now.Add(time.Hour),
		}
		b, err := s.Seal(key)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	n := &Node{records: r, trackers: c, host: h, ctx: t.Context(), changing: make(chan struct{}, 1)}
	a := &account{node: n, user: protocol.UserID{1}, session: protocol.SessionID{1}, network: protocol.NetworkID{7}}
	n.account = a
	renewed, changed := session(0), session(1)
	for _, uses := range [][]byte{renewed, changed} {
		if err := c.SetSession(uses, a.network); err != nil {
			t.Fatal(err)
		}
		if err := n.keepSession(a, changed, "ada"); err != nil {
			t.Fatal(err)
		}
		n.renewed(a, trackers.Renewed{Session: a.session, Envelope: renewed, Name: "ada"})
		if s, err := r.Session(); err != nil || !bytes.Equal(s.Envelope, uses) {
			t.Errorf("the records do not hold the session in use (%v); it is the renewed one: %v", err, bytes.Equal(uses, renewed))
		}
	}
}
