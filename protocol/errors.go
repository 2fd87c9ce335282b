package protocol

import (
	"errors"
	"fmt"
	"time"
)

// Code says what went wrong in a way that means the same on both ends of a
// stream, in a script and in a library. Codes are never renamed or reused.
type Code string

// The codes. Their exit statuses are in cmd/p2pshare/exit.go.
const (
	CodeAuth          Code = "E_AUTH"           // wrong user name or password
	CodeRate          Code = "E_RATE"           // too many attempts
	CodeBusy          Code = "E_BUSY"           // the other side has no capacity just now
	CodeSession       Code = "E_SESSION"        // not logged in (any more)
	CodeForbidden     Code = "E_FORBIDDEN"      // the owner of the group only
	CodeNoTracker     Code = "E_NO_TRACKER"     // none reachable
	CodeTrackerID     Code = "E_TRACKER_ID"     // a tracker is not who it was
	CodeTrackerNew    Code = "E_TRACKER_NEW"    // a tracker nobody has confirmed
	CodeTrackerFull   Code = "E_TRACKER_FULL"   // the tracker cannot store
	CodeVersion       Code = "E_VERSION"        // protocol versions differ
	CodeNotMember     Code = "E_NOT_MEMBER"     // not a member of the group
	CodeNotFound      Code = "E_NOT_FOUND"      // no such user, group or file
	CodeExists        Code = "E_EXISTS"         // the name is taken
	CodeName          Code = "E_NAME"           // the name is not allowed
	CodeLimit         Code = "E_LIMIT"          // a limit is reached
	CodePassword      Code = "E_PASSWORD"       // the password is not allowed
	CodeConfig        Code = "E_CONFIG"         // a file or flag is wrong
	CodeAddrInUse     Code = "E_ADDR_IN_USE"    // another program listens there
	CodeRenamed       Code = "E_RENAMED"        // the name means somebody else now
	CodeNoSeeders     Code = "E_NO_SEEDERS"     // nobody online offers what is missing
	CodeBadData       Code = "E_BAD_DATA"       // every peer sent wrong data
	CodeBadManifest   Code = "E_BAD_MANIFEST"   // the description contradicts itself
	CodeRevoked       Code = "E_REVOKED"        // not a member any more, download stopped
	CodeDiskFull      Code = "E_DISK_FULL"      // no room
	CodeTargetExists  Code = "E_TARGET_EXISTS"  // never replaced
	CodeSourceChanged Code = "E_SOURCE_CHANGED" // the shared file changed on disk
	CodeState         Code = "E_STATE"          // own records damaged
	CodePerm          Code = "E_PERM"           // a private file that others can read
	CodeLocked        Code = "E_LOCKED"         // another process uses the folder or, told by a tracker, the key
	CodeNotRegular    Code = "E_NOT_REGULAR"    // folder, FIFO or device
	CodeUsage         Code = "E_USAGE"          // wrong arguments
	CodeInternal      Code = "E_INTERNAL"       // unforeseen
)

// ElsewhereHelps reports whether the same request may succeed at another
// tracker right away. Nothing else decides fail-over.
func (c Code) ElsewhereHelps() bool {
	switch c {
	case CodeNoTracker, CodeTrackerFull, CodeBusy:
		return true
	default:
		return false
	}
}

// LaterHelps reports whether the same request may succeed at the same place
// without anybody doing anything.
func (c Code) LaterHelps() bool {
	switch c {
	case CodeNoTracker, CodeTrackerFull, CodeBusy, CodeRate, CodeNoSeeders, CodeDiskFull:
		return true
	default:
		return false
	}
}

// Error is the error of every package of the project that a user may meet.
// errors.Is matches it with any *Error that has the same code and no message.
type Error struct {
	Code Code
	// Msg is a sentence for a person, without the code. What comes from other
	// people in it is escaped by Printable.
	Msg string
	// RetryAfter is how long to wait, for E_RATE and E_BUSY; zero if unknown.
	RetryAfter time.Duration
	// Err is the cause. It never crosses the wire.
	Err error

	told bool // Msg includes Err
}

// Error returns the message and the cause, without the code.
func (e *Error) Error() string {
	switch {
	case e.Msg == "" && e.Err == nil:
		return string(e.Code)
	case e.Msg == "":
		return e.Err.Error()
	case e.Err == nil || e.told:
		return e.Msg
	default:
		return e.Msg + ": " + e.Err.Error()
	}
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is a bare error of the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && t.Msg == "" && t.Err == nil
}

// Errorf makes an Error. The cause behind a %w verb is told by the message and
// returned by Unwrap.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Msg: err.Error(), Err: errors.Unwrap(err), told: true}
}

// CodeOf returns the code of err, E_INTERNAL if it has none, "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// Sentinels for errors.Is.
var (
	ErrAuth          = &Error{Code: CodeAuth}
	ErrRate          = &Error{Code: CodeRate}
	ErrBusy          = &Error{Code: CodeBusy}
	ErrSession       = &Error{Code: CodeSession}
	ErrForbidden     = &Error{Code: CodeForbidden}
	ErrNoTracker     = &Error{Code: CodeNoTracker}
	ErrTrackerID     = &Error{Code: CodeTrackerID}
	ErrTrackerNew    = &Error{Code: CodeTrackerNew}
	ErrNotMember     = &Error{Code: CodeNotMember}
	ErrNotFound      = &Error{Code: CodeNotFound}
	ErrExists        = &Error{Code: CodeExists}
	ErrName          = &Error{Code: CodeName}
	ErrRenamed       = &Error{Code: CodeRenamed}
	ErrNoSeeders     = &Error{Code: CodeNoSeeders}
	ErrRevoked       = &Error{Code: CodeRevoked}
	ErrDiskFull      = &Error{Code: CodeDiskFull}
	ErrTargetExists  = &Error{Code: CodeTargetExists}
	ErrSourceChanged = &Error{Code: CodeSourceChanged}
	ErrLocked        = &Error{Code: CodeLocked}
)
