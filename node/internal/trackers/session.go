package trackers

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// renewSessions exchanges the session for a fresh one at half its life.
func (c *Client) renewSessions() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-timer.C:
		}
		// A session set meanwhile is looked at within the minute; nobody's
		// session lives for less than hours.
		wait := time.Minute
		if s := c.currentSession(); s != nil && c.Now().After(halfLife(s)) {
			if err := c.renew(c.ctx, s); err != nil {
				log.Infow("cannot renew the session now", "err", err)
				if protocol.CodeOf(err) == protocol.CodeSession {
					c.logOut(s, err)
				}
			}
		}
		timer.Reset(wait)
	}
}

func halfLife(s *session) time.Time {
	return s.Issued.Add(s.Expires.Sub(s.Issued) / 2)
}

// renew replaces the session by a fresh one.
func (c *Client) renew(ctx context.Context, s *session) error {
	q := &queue{todo: c.known.candidates(c.holder(), c.cfg.Now())}
	for {
		t := c.ready(ctx, q)
		if t == nil {
			return q.err()
		}
		var res *connect.Response[pb.LoginResponse]
		answered, err := c.attempt(ctx, t, q, call{f: func(ctx context.Context, rpc pb.TrackerServiceClient) (err error) {
			req := connect.NewRequest(&pb.RenewRequest{})
			withSession(req.Header(), s.envelope)
			res, err = rpc.Renew(ctx, req)
			return err
		}})
		switch {
		case err == nil:
			return c.replace(s, res.Msg)
		case answered && !protocol.CodeOf(err).ElsewhereHelps():
			return err
		case !answered:
			c.known.fail(t, c.cfg.Now())
		}
		q.fail(t, err)
	}
}

func (c *Client) holder() *tracker {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.attached
}

// replace puts the fresh session in place of s, unless that was ended meanwhile.
func (c *Client) replace(s *session, m *pb.LoginResponse) error {
	fresh, err := c.openSession(m.GetSession(), s.Network)
	if err != nil {
		return err
	}
	c.mu.Lock()
	same := c.session == s
	if same {
		c.session = fresh
	}
	c.mu.Unlock()
	if !same {
		return errors.New("the session was replaced meanwhile")
	}
	c.poke()
	c.post(Renewed{Session: s.ID, Envelope: m.GetSession(), Name: m.GetName()})
	return nil
}

// tellLogouts tells trackers of sessions that were logged out here. Trackers
// forget a session that nobody renews, so one try at each start and every few
// seconds while a tracker is reachable is enough.
func (c *Client) tellLogouts() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-timer.C:
		case <-c.tell:
		}
		if _, err := c.TellLogouts(c.ctx); err != nil {
			timer.Reset(tellPace)
		}
	}
}

// TellLogouts tells of all pending logouts now, and returns where the last one
// is stored: nil if it is not told, or its session had ended before. Without an
// error none is pending any more. One that is refused keeps no other waiting.
func (c *Client) TellLogouts(ctx context.Context) (*pb.Stored, error) {
	select {
	case c.telling <- struct{}{}:
		defer func() { <-c.telling }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var fault error
	for refused := 0; ; {
		c.mu.Lock()
		pending, told := slices.Clone(c.pending), c.told
		c.mu.Unlock()
		if refused >= len(pending) {
			return told, fault
		}
		envelope := pending[refused]
		var stored *pb.Stored
		err := c.Do(ctx, func(ctx context.Context, rpc pb.TrackerServiceClient) error {
			req := connect.NewRequest(&pb.LogoutRequest{})
			withSession(req.Header(), envelope)
			res, err := rpc.Logout(ctx, req)
			if err == nil {
				stored = res.Msg.GetStored()
			}
			if answered, e := classify(err); answered && protocol.CodeOf(e) == protocol.CodeSession {
				return nil // it has ended already
			}
			return err
		})
		if err != nil {
			if ctx.Err() != nil || !OfOne(err) {
				return nil, err
			}
			if fault == nil {
				fault = err
			}
			refused++
			continue
		}
		c.mu.Lock()
		if bytes.Equal(envelope, c.pending[len(c.pending)-1]) {
			c.told = stored
		}
		c.pending = slices.DeleteFunc(c.pending, func(e []byte) bool { return bytes.Equal(e, envelope) })
		left := slices.Clone(c.pending)
		c.mu.Unlock()
		if err := c.cfg.Store.SetPending(left); err != nil {
			return nil, err
		}
	}
}
