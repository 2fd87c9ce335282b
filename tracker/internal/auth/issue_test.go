package auth_test

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
)

func newKey(t *testing.T) (crypto.PrivKey, peer.ID) {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, id
}

func TestIssueSession(t *testing.T) {
	c := newClock()
	key, tracker := newKey(t)
	_, client := newKey(t)
	issuer := auth.Issuer{Key: key, Now: c.Now}
	check := func() credential.Check {
		return credential.Check{Remote: client, Trusted: func(id peer.ID) bool { return id == tracker }, Now: c.Now()}
	}
	s := &credential.Session{ID: protocol.NewSessionID(), Peer: client}
	envelope, err := issuer.Session(s)
	if err != nil {
		t.Fatal(err)
	}
	got, err := credential.OpenSession(envelope, check(), false)
	if err != nil {
		t.Fatal(err)
	}
	if want := c.Now().Add(30 * 24 * time.Hour); !got.RenewUntil.Equal(want) {
		t.Errorf("RenewUntil = %v, want %v", got.RenewUntil, want)
	}

	// Renewed on the last day, it ends where it was to end from the beginning.
	until := got.RenewUntil
	c.Advance(29*24*time.Hour + 12*time.Hour)
	if envelope, err = issuer.Session(got); err != nil {
		t.Fatal(err)
	}
	if got, err = credential.OpenSession(envelope, check(), false); err != nil {
		t.Fatal(err)
	}
	if !got.RenewUntil.Equal(until) || !got.Expires.Equal(until) {
		t.Errorf("renewed: expires %v, renewable until %v, want both %v", got.Expires, got.RenewUntil, until)
	}
}

func TestIssueTicket(t *testing.T) {
	c := newClock()
	key, tracker := newKey(t)
	_, client := newKey(t)
	issuer := auth.Issuer{Key: key, Now: c.Now}
	envelope, err := issuer.Ticket(&credential.Ticket{Peer: client, Group: protocol.GroupID{1}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := credential.OpenTicket(envelope, credential.Check{
		Remote: client, Trusted: func(id peer.ID) bool { return id == tracker }, Now: c.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if life := got.Expires.Sub(got.Issued); life != protocol.TicketLife || got.Group != (protocol.GroupID{1}) {
		t.Errorf("ticket of %v for %v", life, got.Group)
	}
}
