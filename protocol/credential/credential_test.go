package credential_test

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"

	"github.com/p2pshare/p2pshare/internal/frugal"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
)

var now = time.Unix(1_800_000_000, 0)

func key(t testing.TB, kind int) (crypto.PrivKey, peer.ID) {
	t.Helper()
	k, _, err := crypto.GenerateKeyPairWithReader(kind, 2048, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return k, id
}

func session(client, tracker peer.ID, network protocol.NetworkID) *credential.Session {
	return &credential.Session{
		Network: network, User: protocol.UserID{1}, ID: protocol.SessionID{2}, Peer: client, Resets: 1, Changes: 2,
		Verifier: protocol.Stamp{Wall: 5, Logical: 6, Origin: tracker.String()},
		Issued:   now, Expires: now.Add(protocol.SessionLife), RenewUntil: now.Add(protocol.SessionRenew),
	}
}

func TestSessionChecks(t *testing.T) {
	trackerKey, tracker := key(t, crypto.Ed25519)
	_, client := key(t, crypto.Ed25519)
	strangerKey, _ := key(t, crypto.Ed25519)
	network := protocol.NewNetworkID()
	good := credential.Check{
		Network: network, Remote: client, Now: now,
		Trusted: func(id peer.ID) bool { return id == tracker },
	}
	seal := func(k crypto.PrivKey) []byte {
		b, err := session(client, tracker, network).Seal(k)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sealed := seal(trackerKey)
	with := func(change func(*credential.Check)) credential.Check {
		c := good
		change(&c)
		return c
	}
	tests := []struct {
		name     string
		envelope []byte
		check    credential.Check
		renewing bool
		ok       bool
	}{
		{"good", sealed, good, false, true},
		{"signed by a stranger", seal(strangerKey), good, false, false},
		{"from another peer", sealed, with(func(c *credential.Check) { c.Remote = tracker }), false, false},
		{"of another network", sealed, with(func(c *credential.Check) { c.Network[0]++ }), false, false},
		{"nobody is trusted", sealed, with(func(c *credential.Check) { c.Trusted = nil }), false, false},
		{"expired", sealed, with(func(c *credential.Check) { c.Now = now.Add(25 * time.Hour) }), false, false},
		{"expired, to be renewed", sealed, with(func(c *credential.Check) { c.Now = now.Add(25 * time.Hour) }), true, true},
		{"too old to be renewed", sealed, with(func(c *credential.Check) { c.Now = now.Add(31 * 24 * time.Hour) }), true, false},
		{"of a tracker whose clock is ahead", sealed, with(func(c *credential.Check) { c.Now = now.Add(-time.Hour) }), false, true},
		{"from the future", sealed, with(func(c *credential.Check) { c.Now = now.Add(-2 * time.Hour) }), false, false},
		{"bytes appended", append(append([]byte{}, sealed...), 0x28, 0), good, false, false},
		{"a bit flipped", flip(sealed), good, false, false},
		{"nothing", nil, good, false, false},
		{"too long", make([]byte, protocol.MaxCredential+1), good, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, err := credential.OpenSession(test.envelope, test.check, test.renewing)
			if test.ok != (err == nil) {
				t.Fatalf("got %v, want ok %v", err, test.ok)
			}
			if err != nil && !errors.Is(err, protocol.ErrSession) {
				t.Errorf("got %v, want E_SESSION", err)
			}
			if err == nil {
				if diff := cmp.Diff(session(client, tracker, network), s); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func flip(b []byte) []byte {
	c := append([]byte{}, b...)
	c[len(c)/2] ^= 1
	return c
}

// disguised is a ticket whose envelope says that it is a session.
type disguised struct{ *credential.Ticket }

func (disguised) Domain() string { return (*credential.Session)(nil).Domain() }

func TestTypesAreNotConfused(t *testing.T) {
	trackerKey, tracker := key(t, crypto.Ed25519)
	_, client := key(t, crypto.Ed25519)
	check := credential.Check{Remote: client, Now: now, Trusted: func(id peer.ID) bool { return id == tracker }}
	ticket := &credential.Ticket{Peer: client, Issued: now, Expires: now.Add(protocol.TicketLife)}
	asTicket, err := ticket.Seal(trackerKey)
	if err != nil {
		t.Fatal(err)
	}
	asSession, err := session(client, tracker, protocol.NetworkID{}).Seal(trackerKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := credential.OpenSession(asTicket, check, false); err == nil {
		t.Error("a ticket was taken for a session")
	}
	if _, err := credential.OpenTicket(asSession, check); err == nil {
		t.Error("a session was taken for a ticket")
	}
	e, err := record.Seal(disguised{ticket}, trackerKey)
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := credential.OpenSession(b, check, false); err == nil {
		t.Error("a payload of another type was accepted under the right domain")
	}
	if _, err := credential.OpenTicket(asTicket, check); err != nil {
		t.Errorf("a good ticket: %v", err)
	}

	ecdsaKey, ecdsaID := key(t, crypto.ECDSA)
	b, err = ticket.Seal(ecdsaKey)
	if err != nil {
		t.Fatal(err)
	}
	check.Trusted = func(id peer.ID) bool { return id == ecdsaID }
	if _, err := credential.OpenTicket(b, check); err == nil {
		t.Error("a key of another type was accepted")
	}
}

func TestTicketLife(t *testing.T) {
	trackerKey, tracker := key(t, crypto.Ed25519)
	_, client := key(t, crypto.Ed25519)
	check := credential.Check{Remote: client, Now: now, Trusted: func(id peer.ID) bool { return id == tracker }}
	for life, ok := range map[time.Duration]bool{
		protocol.TicketLife: true, protocol.TicketMaxLife: true,
		protocol.TicketMaxLife + time.Second: false, -time.Second: false,
	} {
		ticket := &credential.Ticket{Peer: client, Issued: now, Expires: now.Add(life)}
		b, err := ticket.Seal(trackerKey)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := credential.OpenTicket(b, check); (err == nil) != ok {
			t.Errorf("life of %v: got %v, want ok %v", life, err, ok)
		}
	}
	ticket := credential.Ticket{Expires: now}
	if ticket.Expired(now.Add(time.Minute)) || !ticket.Expired(now.Add(3*time.Minute)) {
		t.Error("expiry does not allow for two minutes of skew")
	}
}

func FuzzOpen(f *testing.F) {
	trackerKey, tracker := key(f, crypto.Ed25519)
	_, client := key(f, crypto.Ed25519)
	check := credential.Check{Remote: client, Now: now, Trusted: func(peer.ID) bool { return true }}
	s, err := session(client, tracker, protocol.NetworkID{}).Seal(trackerKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s)
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		defer frugal.Check(t)()
		if _, err := credential.OpenTicket(b, check); err == nil {
			t.Error("somebody forged a ticket")
		}
		if got, err := credential.OpenSession(b, check, true); err == nil && got.Peer != client {
			t.Error("a session of another peer was accepted")
		}
	})
}

func FuzzRecords(f *testing.F) {
	_, client := key(f, crypto.Ed25519)
	s, _ := session(client, client, protocol.NetworkID{}).MarshalRecord()
	f.Add(s)
	t, _ := (&credential.Ticket{Peer: client, Issued: now, Expires: now}).MarshalRecord()
	f.Add(t)
	f.Fuzz(func(t *testing.T, b []byte) {
		defer frugal.Check(t)()
		for _, r := range []record.Record{new(credential.Session), new(credential.Ticket)} {
			if r.UnmarshalRecord(b) != nil {
				continue
			}
			if again, err := r.MarshalRecord(); err != nil || string(again) != string(b) {
				t.Errorf("%x is not canonical", b)
			}
		}
	})
}
