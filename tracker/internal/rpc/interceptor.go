package rpc

import (
	"cmp"
	"context"
	"encoding/base64"
	"net/http"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// call is one call under way. It belongs to the goroutine of its handler.
type call struct {
	rule    rule
	remote  remote
	session *credential.Session // nil without a session
	user    catalog.User        // of the session
	// seen is the latest stamp that the client has seen, zero if it says none. The
	// clock follows it once it is known who says so: strangers do not set clocks.
	seen protocol.Stamp
	// ended tells that the session is valid in form but does not count any
	// more; only Logout gets that far.
	ended bool
	note  Activity
}

type callKey struct{}

// callOf returns the call of a handler's context.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// about notes for the activity log what the call is about. The names may be
// anything that a client sent.
func (c *call) about(group, object string) {
	c.note.Group, c.note.Object = printable(group), printable(object)
}

// interceptor does around each handler what holds for all of them.
type interceptor struct{ s *Server }

func (i *interceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		c, err := i.s.begin(ctx, req.Spec().Procedure, req.Header())
		if err != nil {
			return nil, i.s.end(c, err)
		}
		var undone uint64
		if c.rule.reads {
			undone = i.s.replica.Undone()
		}
		resp, err := next(context.WithValue(ctx, callKey{}, c), req)
		if c.rule.reads { // an error, too, may tell of what is not on disk
			err = cmp.Or(i.s.replica.OnDisk(ctx, undone), err)
		}
		if err = i.s.end(c, err); err != nil {
			return nil, err
		}
		return resp, nil
	}
}

func (i *interceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		c, err := i.s.begin(ctx, conn.Spec().Procedure, conn.RequestHeader())
		if err != nil {
			return i.s.end(c, err)
		}
		return i.s.end(c, next(context.WithValue(ctx, callKey{}, c), conn))
	}
}

func (i *interceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// begin says who calls and whether this tracker answers at all. The call is
// never nil, so that a refusal can be logged.
func (s *Server) begin(ctx context.Context, procedure string, header http.Header) (*call, error) {
	from, _ := ctx.Value(remoteKey{}).(remote)
	if w, ok := ctx.Value(requestKey{}).(*requestWriter); ok {
		w.read = true
	}
	c := &call{rule: ruleOf(procedure), remote: from}
	c.note = Activity{What: c.rule.what, Peer: from.text}
	if text := header.Get(protocol.HeaderStamp); text != "" {
		stamp, err := protocol.ParseStamp(text)
		if err != nil {
			return c, err
		}
		c.seen = stamp
	}
	if c.rule.always {
		return c, nil
	}
	if err := s.replica.Serving(); err != nil {
		return c, err
	}
	if c.rule.open {
		return c, nil
	}
	envelope, err := base64.StdEncoding.DecodeString(header.Get(protocol.HeaderSession))
	if err != nil {
		return c, notLoggedIn()
	}
	if err := s.authenticate(ctx, c, envelope); err != nil {
		return c, err
	}
	if !c.ended {
		c.remote.known()
	}
	s.replica.Observe(c.seen)
	c.note.User = c.user.Name
	if c.rule.change {
		if err := s.cfg.Limits.Allow(auth.LimitOps, c.user.ID.String()); err != nil {
			return c, err
		}
	}
	s.hub.refresh(c.remote.text, c.session)
	return c, nil
}

// end logs the call and turns its error into what the caller may see.
func (s *Server) end(c *call, err error) error {
	if err == nil {
		s.activity.add(c, "ok")
		return nil
	}
	reference := s.account(c, err)
	s.activity.add(c, string(publicCode(err)))
	return s.refusal(err, reference)
}
