// Package credential makes and checks sessions and tickets: libp2p signed
// envelopes by a tracker that bind a user to one client's peer ID. It is the
// one place that checks all of a credential, for trackers, which accept
// sessions, and for seeders, which accept tickets. It knows no network and no
// store: what else must hold (not revoked, still a member) its callers check.
package credential

import (
	"bytes"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"

	"github.com/p2pshare/p2pshare/protocol"
)

// Session says that a tracker has checked the password of User on client Peer.
// It opens nothing from any other peer ID, so it needs no secrecy on the wire
// beyond the encrypted stream, but is kept out of logs all the same.
type Session struct {
	Network protocol.NetworkID
	User    protocol.UserID
	ID      protocol.SessionID
	Peer    peer.ID
	// Resets and Changes are the epoch of the password verifier that was used,
	// Verifier the stamp by which its password was set: another password of the
	// same epoch is not this one.
	Resets, Changes uint32
	Verifier        protocol.Stamp
	Issued          time.Time // to the second, as the following
	Expires         time.Time
	RenewUntil      time.Time
}

// Ticket says that at Stamp the user was a member of the group, to whom it may concern.
type Ticket struct {
	Network protocol.NetworkID
	Group   protocol.GroupID
	User    protocol.UserID
	Session protocol.SessionID
	Peer    peer.ID
	Stamp   protocol.Stamp
	Issued  time.Time // to the second
	Expires time.Time
}

// Check is what a credential is held against.
type Check struct {
	Network protocol.NetworkID
	// Remote is the peer at the other end of the connection it came on.
	Remote peer.ID
	// Trusted reports whether a tracker's signature counts.
	Trusted func(peer.ID) bool
	Now     time.Time
}

// Seal signs a session with a tracker's key.
func (s *Session) Seal(key crypto.PrivKey) ([]byte, error) { return seal(s, key) }

// Seal signs a ticket with a tracker's key.
func (t *Ticket) Seal(key crypto.PrivKey) ([]byte, error) { return seal(t, key) }

// OpenSession checks form, signature, signer, network, peer and times of a
// session. Past Expires it is still good up to RenewUntil when renewing is
// set. Errors: E_SESSION, without telling what was wrong beyond expiry.
func OpenSession(envelope []byte, c Check, renewing bool) (*Session, error) {
	s := new(Session)
	if err := open(envelope, s, c); err != nil {
		return nil, err
	}
	end := s.Expires
	if renewing {
		end = s.RenewUntil
	}
	if s.Network != c.Network || s.Peer != c.Remote || s.Issued.After(c.Now.Add(protocol.SessionAhead)) {
		return nil, refused("the session does not belong here")
	}
	if c.Now.After(end.Add(protocol.CredentialSkew)) {
		return nil, refused("the session has expired")
	}
	return s, nil
}

// OpenTicket checks everything about a ticket but its expiry and revocations.
// The caller decides about those with Expired and what it knows of members.
// Errors: E_SESSION.
func OpenTicket(envelope []byte, c Check) (*Ticket, error) {
	t := new(Ticket)
	if err := open(envelope, t, c); err != nil {
		return nil, err
	}
	if t.Network != c.Network || t.Peer != c.Remote ||
		t.Issued.After(c.Now.Add(protocol.CredentialSkew)) ||
		t.Expires.Sub(t.Issued) > protocol.TicketMaxLife || t.Expires.Before(t.Issued) {
		return nil, refused("the ticket does not belong here")
	}
	return t, nil
}

// Expired reports whether the ticket's life is over at now.
func (t *Ticket) Expired(now time.Time) bool {
	return now.After(t.Expires.Add(protocol.CredentialSkew))
}

func refused(why string) error {
	return protocol.Errorf(protocol.CodeSession, "%s", why)
}

func seal(r record.Record, key crypto.PrivKey) ([]byte, error) {
	e, err := record.Seal(r, key)
	if err != nil {
		return nil, err
	}
	return e.Marshal()
}

// open does what record.ConsumeTypedEnvelope leaves out: it compares the
// payload type, refuses appended bytes, and asks who signed.
func open(envelope []byte, r record.Record, c Check) error {
	if len(envelope) == 0 || len(envelope) > protocol.MaxCredential {
		return refused("there is no valid session")
	}
	e, err := record.ConsumeTypedEnvelope(envelope, r)
	if err != nil {
		return refused("the signature is not valid")
	}
	if canonical, err := e.Marshal(); err != nil || !bytes.Equal(canonical, envelope) {
		return refused("the envelope is not in canonical form")
	}
	if !bytes.Equal(e.PayloadType, r.Codec()) || e.PublicKey.Type() != crypto.Ed25519 {
		return refused("the envelope holds something else")
	}
	signer, err := peer.IDFromPublicKey(e.PublicKey)
	if err != nil || c.Trusted == nil || !c.Trusted(signer) {
		return refused("it was signed by a tracker that is not trusted here")
	}
	return nil
}
