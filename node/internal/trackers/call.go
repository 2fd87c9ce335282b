package trackers

import (
	"context"
	"errors"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

// Unary is a method of the service, for Call: pb.TrackerServiceClient.Login.
type Unary[Req, Res any] func(pb.TrackerServiceClient, context.Context, *connect.Request[Req]) (*connect.Response[Res], error)

// Call makes one logical call: at any live tracker, and again at others when
// one fails or says that another may help. Trackers that are busy for a moment
// only are waited for. What is sent is the same each time,
// so a creating request with its nonce stays one request. Errors: what the
// tracker answered; E_NO_TRACKER, E_TRACKER_ID, E_TRACKER_NEW; the context's.
func Call[Req, Res any](ctx context.Context, c *Client, method Unary[Req, Res], msg *Req) (*Res, error) {
	var out *Res
	err := c.Do(ctx, func(ctx context.Context, rpc pb.TrackerServiceClient) error {
		res, err := method(rpc, ctx, connect.NewRequest(msg))
		if err == nil {
			out = res.Msg
		}
		return err
	})
	return out, err
}

// Do is Call for calls of any shape: f makes one call at the tracker given,
// perhaps several times, each time at another one.
func (c *Client) Do(ctx context.Context, f func(ctx context.Context, rpc pb.TrackerServiceClient) error) error {
	return c.do(ctx, call{f: f})
}

// DoLong is Do for calls that carry much, over slow links too. They may take
// long as long as they move, by 4 KiB a second: f calls moved when they do, with
// the bytes that went and how many may be in buffers between here and there, at
// most.
func (c *Client) DoLong(ctx context.Context, f func(ctx context.Context, rpc pb.TrackerServiceClient, moved func(bytes, between int)) error) error {
	return c.do(ctx, call{long: f})
}

// call is f or long.
type call struct {
	f    func(ctx context.Context, rpc pb.TrackerServiceClient) error
	long func(ctx context.Context, rpc pb.TrackerServiceClient, moved func(bytes, between int)) error
}

func (c *Client) do(ctx context.Context, f call) error {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	began := time.Now()
	for try := 0; ; try++ {
		err := c.round(ctx, f)
		wait := worthWaiting(err, try, time.Since(began))
		if wait == 0 {
			return err
		}
		log.Infow("no tracker could do it, trying again", "err", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

// worthWaiting says after how long all trackers should be tried once more,
// zero if they should not.
func worthWaiting(err error, try int, spent time.Duration) time.Duration {
	e, ok := errors.AsType[*protocol.Error](err)
	switch {
	case !ok:
	case e.Code == protocol.CodeBusy && spent+e.RetryAfter <= busyBudget:
		return e.RetryAfter
	case e.Code == protocol.CodeNoTracker && try == 0 && spent < secondLook:
		// A refusal may have been met by a dial that was under way already when
		// the tracker came back, and that this call was joined to.
		return secondLook
	}
	return 0
}

// round tries each tracker.
func (c *Client) round(ctx context.Context, f call) error {
	q := &queue{todo: c.known.candidates(c.holder(), c.cfg.Now()), ask: true}
	again := map[*tracker]bool{}
	renewed := false
	for {
		t := c.ready(ctx, q)
		if t == nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return q.err()
		}
		session := c.currentSession()
		answered, err := c.attempt(ctx, t, q, f)
		switch code := protocol.CodeOf(err); {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !answered:
			c.known.fail(t, c.cfg.Now())
			log.Infow("call failed, trying another tracker", "tracker", t.address, "err", err)
			// The stream may have been a left-over of a tracker that has
			// restarted since: it gets a second try, behind the others.
			if !again[t] && !errors.Is(err, errSilent) {
				again[t] = true
				q.todo = append(q.todo, t)
			} else {
				q.fail(t, err)
			}
		case code.ElsewhereHelps():
			q.fail(t, err)
		case code == protocol.CodeSession && session != nil && !renewed && c.refused(ctx, session, err):
			renewed = true
			q.todo = append([]*tracker{t}, q.todo...)
		default:
			return err
		}
	}
}

// bound ends a context with the client.
func (c *Client) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.ctx, func() { cancel(errClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

var errClosed = protocol.Errorf(protocol.CodeNoTracker, "the client is closing")

// OfOne reports whether err says something of the one request that met it. Other
// requests would not meet it as well, as they would the absence of trackers.
func OfOne(err error) bool {
	e, ok := errors.AsType[*protocol.Error](err)
	return ok && !e.Code.LaterHelps() && e.Code != protocol.CodeSession
}

// classify turns the error of a call into one of the project. An error that
// is no call's is the caller's own, and final.
func classify(err error) (answered bool, _ error) {
	ce, ok := asConnect(err)
	if !ok {
		return true, err
	}
	for _, d := range ce.Details() {
		if m, err := d.Value(); err == nil {
			if f, ok := m.(*pb.Failure); ok {
				return true, wire.FromFailure(f)
			}
		}
	}
	if !connect.IsWireError(err) {
		return false, err
	}
	switch ce.Code() {
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded, connect.CodeCanceled, connect.CodeUnknown:
		return false, err
	case connect.CodeUnimplemented:
		return true, protocol.Errorf(protocol.CodeVersion, "the tracker does not know this request; it or this client is too old")
	default:
		return true, protocol.Errorf(protocol.CodeInternal, "the tracker refused the request: %s", protocol.Printable(ce.Message()))
	}
}

func asConnect(err error) (*connect.Error, bool) { return errors.AsType[*connect.Error](err) }

// refused handles E_SESSION for the session that a call carried. A session
// that is only past its time is renewed; then, or when another one is in use
// by now, it returns true: the call may be made again. Otherwise this client
// is logged out.
func (c *Client) refused(ctx context.Context, used *session, why error) bool {
	if now := c.currentSession(); now == nil || now != used {
		return now != nil
	}
	if c.Now().After(used.Expires) {
		if err := c.renew(ctx, used); err == nil {
			return true
		} else if protocol.CodeOf(err) != protocol.CodeSession {
			return false // the call fails; whether the session lives is not known
		}
	}
	c.logOut(used, why)
	return false
}

// logOut drops a session that trackers do not accept any more, and says so.
func (c *Client) logOut(s *session, why error) {
	c.mu.Lock()
	gone := c.session == s
	if gone {
		c.session = nil
	}
	c.mu.Unlock()
	if gone {
		c.offers.clear()
		c.post(LoggedOut{Err: why})
		c.poke()
	}
}

// withSession makes a call carry a session other than the client's own.
func withSession(h http.Header, envelope []byte) {
	h.Set(protocol.HeaderSession, encodeSession(envelope))
}
