package auth

import (
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
)

// Issuer signs sessions and tickets with a tracker's key.
type Issuer struct {
	Key crypto.PrivKey
	Now func() time.Time
}

// Session sets the times of s and signs it. A session without RenewUntil is a
// new login; one with it is renewed up to there and no further.
func (i Issuer) Session(s *credential.Session) ([]byte, error) {
	now := i.Now().Truncate(time.Second)
	if s.RenewUntil.IsZero() {
		s.RenewUntil = now.Add(protocol.SessionRenew)
	}
	s.Issued, s.Expires = now, now.Add(protocol.SessionLife)
	if s.Expires.After(s.RenewUntil) {
		s.Expires = s.RenewUntil
	}
	b, err := s.Seal(i.Key)
	if err != nil {
		return nil, fmt.Errorf("seal session: %w", err)
	}
	return b, nil
}

// Ticket sets the times of t and signs it.
func (i Issuer) Ticket(t *credential.Ticket) ([]byte, error) {
	t.Issued = i.Now().Truncate(time.Second)
	t.Expires = t.Issued.Add(protocol.TicketLife)
	b, err := t.Seal(i.Key)
	if err != nil {
		return nil, fmt.Errorf("seal ticket: %w", err)
	}
	return b, nil
}
