package wire

import (
	"errors"
	"strings"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// ToFailure is the one place where an error becomes what the other side may
// see: the cause is dropped, and the text of an unforeseen error is replaced
// by the reference under which the caller has logged it.
func ToFailure(err error, reference string) *pb.Failure {
	e, ok := errors.AsType[*protocol.Error](err)
	if !ok || e.Code == protocol.CodeInternal {
		return &pb.Failure{
			Code:      string(protocol.CodeInternal),
			Message:   "something unforeseen happened at the tracker; its log has it under " + reference,
			Reference: reference,
		}
	}
	return &pb.Failure{Code: string(e.Code), Message: e.Msg, RetryAfterMs: e.RetryAfter.Milliseconds()}
}

// FromFailure is the way back. An unknown code of a newer peer stays as it is,
// if it looks like one: codes are shown to people and compared by scripts.
func FromFailure(f *pb.Failure) error {
	if f == nil {
		return nil
	}
	code := protocol.Code(f.GetCode())
	if !isCode(f.GetCode()) {
		code = protocol.CodeInternal
	}
	return &protocol.Error{
		Code: code, Msg: protocol.Printable(f.GetMessage()),
		RetryAfter: time.Duration(f.GetRetryAfterMs()) * time.Millisecond,
	}
}

// isCode reports whether text has the form of a code: E_ and at most 30 of A-Z and _.
func isCode(text string) bool {
	name, ok := strings.CutPrefix(text, "E_")
	return ok && name != "" && len(name) <= 30 && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
}
