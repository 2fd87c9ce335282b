package rpc

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// sessionCache remembers envelopes whose signature was checked, by their
// bytes: a check costs 0.1 ms, and clients show the same one in every call.
type sessionCache struct {
	mu      sync.Mutex
	checked *simplelru.LRU[string, *credential.Session]
}

func newSessionCache(size int) *sessionCache {
	lru, _ := simplelru.NewLRU[string, *credential.Session](size, nil) // fails for no positive size
	return &sessionCache{checked: lru}
}

func (c *sessionCache) get(envelope []byte) (*credential.Session, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.checked.Get(string(envelope))
}

func (c *sessionCache) add(envelope []byte, s *credential.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checked.Add(string(envelope), s)
}

// openSession checks all that an envelope says by itself. The session it returns
// is shared and must not be changed. known is nil if this tracker has served the
// session; otherwise whoever has caught up calls it.
func (s *Server) openSession(envelope []byte, from peer.ID, renewing bool) (opened *credential.Session, known func(), err error) {
	if len(envelope) == 0 {
		return nil, nil, notLoggedIn()
	}
	now, network, list := s.cfg.Now(), s.replica.Network(), s.roster.Load()
	if before, ok := list.sessions.get(envelope); ok && before.Peer == from && before.Network == network && inTime(before, now) {
		return before, nil, nil
	}
	opened, err = credential.OpenSession(envelope, credential.Check{
		Network: network, Remote: from, Now: now,
		Trusted: func(id peer.ID) bool { return list.trusted[id] },
	}, renewing)
	if err != nil {
		return nil, nil, err
	}
	return opened, func() {
		if inTime(opened, now) {
			list.sessions.add(envelope, opened)
		}
	}, nil
}

// issue signs a session, which must not be changed any more, and knows it from
// then on.
func (s *Server) issue(session *credential.Session) (envelope []byte, err error) {
	if envelope, err = s.issuer.Session(session); err != nil {
		return nil, err
	}
	s.roster.Load().sessions.add(envelope, session)
	return envelope, nil
}

func inTime(s *credential.Session, now time.Time) bool {
	return !now.After(s.Expires.Add(protocol.CredentialSkew)) && !s.Issued.After(now.Add(protocol.SessionAhead))
}

// authenticate sets session and user of c, if the session counts. Whoever shows
// one for the first time may come from another tracker, and is to find here what
// was done there.
func (s *Server) authenticate(ctx context.Context, c *call, envelope []byte) error {
	session, known, err := s.openSession(envelope, c.remote.id, c.rule.renew)
	if err != nil {
		return err
	}
	if err := s.cfg.Limits.Allow(auth.LimitCalls, session.User.String()); err != nil {
		return err
	}
	if known != nil {
		s.replica.CatchUp(ctx)
		if ctx.Err() == nil {
			known() // now only: calls at the same time have to catch up as well
		}
	}
	s.replica.View(func(cat *catalog.Catalog) {
		if c.user, err = liveSession(cat, session); err != nil && protocol.CodeOf(err) == protocol.CodeSession && c.rule.ended {
			c.ended, err = true, nil
			c.user, _ = cat.User(session.User)
		}
	})
	if err != nil {
		return err
	}
	// Sessions of a clock that is ahead count at once; so must what ends them.
	if s.replica.Awaits(catalog.EndsOf(session.User, session.ID)...) {
		return &protocol.Error{
			Code: protocol.CodeBusy, RetryAfter: time.Minute,
			Msg: "a tracker whose clock is ahead has changed your account or logged you out; this one waits until its own clock says the same",
		}
	}
	c.session = session
	if !c.ended {
		s.cfg.Presence.Saw(session.ID)
	}
	return nil
}

// liveSession says whether a session that is genuine still counts, and whose it is.
func liveSession(c *catalog.Catalog, s *credential.Session) (catalog.User, error) {
	u, ok := c.User(s.User)
	if !ok {
		// A tracker of the list has signed it, so the account exists, at none of
		// the trackers that can be reached from here.
		return u, &protocol.Error{
			Code: protocol.CodeBusy, RetryAfter: time.Second,
			Msg: "this tracker has not caught up with your account yet",
		}
	}
	if u.Disabled || c.Revoked(s.ID) {
		return u, notLoggedIn()
	}
	if v, ok := c.Verifier(s.User); ok && outdated(s, v) {
		return u, notLoggedIn()
	}
	return u, nil
}

// outdated reports whether the session was made with a password that is not the
// present one. A session of a later epoch than the verifier here is good: the
// verifier has not come yet.
func outdated(s *credential.Session, v catalog.Verifier) bool {
	switch cmp.Or(cmp.Compare(s.Resets, v.Resets), cmp.Compare(s.Changes, v.Changes)) {
	case -1:
		return true
	case 0:
		return s.Verifier != v.Set
	default:
		return false
	}
}
