package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/p2pshare/p2pshare/protocol"
)

// statusInterrupted is how a process ends that a signal stopped before it was
// through, as shells have it.
const statusInterrupted = 130

// exitStatus returns what the process ends with for an error. The numbers are
// a contract with scripts: they are never changed or used again.
func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	if isInterrupted(err) {
		return statusInterrupted
	}
	if status, ok := statusOf(protocol.CodeOf(err)); ok {
		return status
	}
	return 1
}

// status is how a process ends whose error has a code.
type status struct {
	code    protocol.Code
	status  int
	meaning string
}

// statuses are those of all codes, in the order of the numbers.
func statuses() []status {
	return []status{
		{protocol.CodeInternal, 1, "unforeseen"},
		{protocol.CodeUsage, 2, "wrong arguments"},
		{protocol.CodeAuth, 10, "wrong user name or password"},
		{protocol.CodeRate, 11, "too many attempts"},
		{protocol.CodeBusy, 12, "the other side has no capacity just now"},
		{protocol.CodeSession, 13, "not logged in (any more)"},
		{protocol.CodeForbidden, 14, "the owner of the group only"},
		{protocol.CodeNoTracker, 20, "none reachable"},
		{protocol.CodeTrackerID, 21, "a tracker is not who it was"},
		{protocol.CodeTrackerNew, 22, "a tracker nobody has confirmed"},
		{protocol.CodeTrackerFull, 23, "the tracker cannot store"},
		{protocol.CodeVersion, 24, "protocol versions differ"},
		{protocol.CodeNotMember, 30, "not a member of the group"},
		{protocol.CodeNotFound, 31, "no such user, group or file"},
		{protocol.CodeExists, 32, "the name is taken"},
		{protocol.CodeName, 33, "the name is not allowed"},
		{protocol.CodeLimit, 34, "a limit is reached"},
		{protocol.CodePassword, 35, "the password is not allowed"},
		{protocol.CodeConfig, 36, "a file or flag is wrong"},
		{protocol.CodeAddrInUse, 37, "another program listens there"},
		{protocol.CodeRenamed, 38, "the name means somebody else now"},
		{protocol.CodeNoSeeders, 40, "nobody online offers what is missing"},
		{protocol.CodeBadData, 41, "every peer sent wrong data"},
		{protocol.CodeBadManifest, 42, "the description contradicts itself"},
		{protocol.CodeRevoked, 43, "not a member any more, download stopped"},
		{protocol.CodeDiskFull, 50, "no room"},
		{protocol.CodeTargetExists, 51, "never replaced"},
		{protocol.CodeSourceChanged, 52, "the shared file changed on disk"},
		{protocol.CodeState, 53, "own records damaged"},
		{protocol.CodePerm, 54, "a private file that others can read"},
		{protocol.CodeLocked, 55, "another process uses the folder or, told by a tracker, the key"},
		{protocol.CodeNotRegular, 56, "folder, FIFO or device"},
	}
}

func statusOf(code protocol.Code) (int, bool) {
	for _, s := range statuses() {
		if s.code == code {
			return s.status, true
		}
	}
	return 0, false
}

func isInterrupted(err error) bool {
	_, coded := errors.AsType[*protocol.Error](err)
	return errors.Is(err, context.Canceled) && !coded
}

// tell prints an error the way all errors are told.
func tell(stderr io.Writer, err error) {
	if err == nil || isInterrupted(err) {
		return
	}
	fmt.Fprintf(stderr, "error: %s (%s)\n", protocol.Printable(err.Error()), protocol.CodeOf(err))
}

// usagef is the error of a command line that cannot be understood.
func usagef(format string, args ...any) error {
	return protocol.Errorf(protocol.CodeUsage, format, args...)
}

// toldError is an error that the user has read already.
type toldError struct{ error }

func (e toldError) Unwrap() error { return e.error }
