package rpc

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"runtime/debug"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

// codeFor is the Connect code that fits a code of ours, for tools that know
// only those. Clients of the project read the Failure beside it.
func codeFor(c protocol.Code) connect.Code {
	switch c {
	case protocol.CodeAuth, protocol.CodeSession:
		return connect.CodeUnauthenticated
	case protocol.CodeForbidden, protocol.CodeNotMember:
		return connect.CodePermissionDenied
	case protocol.CodeRate, protocol.CodeLimit:
		return connect.CodeResourceExhausted
	case protocol.CodeBusy, protocol.CodeTrackerFull, protocol.CodeNoTracker:
		return connect.CodeUnavailable
	case protocol.CodeNotFound:
		return connect.CodeNotFound
	case protocol.CodeExists:
		return connect.CodeAlreadyExists
	case protocol.CodeRenamed:
		return connect.CodeFailedPrecondition
	case protocol.CodeName, protocol.CodePassword, protocol.CodeUsage, protocol.CodeBadManifest:
		return connect.CodeInvalidArgument
	case protocol.CodeVersion:
		return connect.CodeUnimplemented
	default:
		return connect.CodeInternal
	}
}

// publicCode is the code under which the caller hears of err.
func publicCode(err error) protocol.Code {
	if isEnded(err) {
		return protocol.CodeBusy
	}
	return protocol.CodeOf(err)
}

// isEnded reports whether the caller gave up or its time ran out, which is
// nobody's fault. An error that has a code says so itself.
func isEnded(err error) bool {
	if _, ok := errors.AsType[*protocol.Error](err); ok {
		return false
	}
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// refusal is the one place where an error becomes what goes over the wire.
func (s *Server) refusal(err error, reference string) error {
	if c, ok := errors.AsType[*connect.Error](err); ok && protocol.CodeOf(err) == protocol.CodeInternal {
		// Of the library, about a broken request or a broken stream.
		told := malformed(c.Code())
		if told == nil {
			return c
		}
		err = told
	}
	if isEnded(err) {
		err = protocol.Errorf(protocol.CodeBusy, "the call was ended before the tracker was done")
	}
	failure := wire.ToFailure(err, reference)
	out := connect.NewError(codeFor(protocol.Code(failure.GetCode())), errors.New(failure.GetMessage()))
	if detail, err := connect.NewErrorDetail(failure); err == nil {
		out.AddDetail(detail)
	}
	return out
}

// malformed is what is said of a request that the library could not read; nil
// if that is not what the code means.
func malformed(code connect.Code) error {
	switch code {
	case connect.CodeInvalidArgument:
		return protocol.Errorf(protocol.CodeUsage, "the request is not a message that this tracker understands")
	case connect.CodeResourceExhausted:
		return protocol.Errorf(protocol.CodeLimit, "limit reached: a request may have %d bytes", protocol.MaxRequest)
	default:
		return nil
	}
}

// account logs what is this tracker's fault, and returns the reference under
// which the log has it.
func (s *Server) account(c *call, err error) string {
	if publicCode(err) != protocol.CodeInternal {
		log.Debugw("refused", "what", c.rule.what, "peer", c.remote.text, "err", err)
		return ""
	}
	if _, ok := errors.AsType[*connect.Error](err); ok {
		log.Debugw("broken call", "what", c.rule.what, "peer", c.remote.text, "err", err)
		return ""
	}
	id := protocol.NewNonce()
	reference := hex.EncodeToString(id[:4])
	log.Errorw("call failed", "reference", reference, "what", c.rule.what, "peer", c.remote.text, "err", err)
	return reference
}

// recovered is the barrier that keeps a fault in one call from ending the tracker.
func (s *Server) recovered(_ context.Context, spec connect.Spec, _ http.Header, cause any) error {
	id := protocol.NewNonce()
	reference := hex.EncodeToString(id[:4])
	log.Errorw("panic in a call", "reference", reference, "procedure", spec.Procedure, "cause", cause, "stack", string(debug.Stack()))
	return s.refusal(errors.New("panic"), reference)
}

func notLoggedIn() error {
	return protocol.Errorf(protocol.CodeSession, "you are not logged in (any more); use login")
}
