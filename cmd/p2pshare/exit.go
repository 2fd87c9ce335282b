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

func statusOf(code protocol.Code) (int, bool) {
	statuses := map[protocol.Code]int{
		protocol.CodeInternal:      1,
		protocol.CodeUsage:         2,
		protocol.CodeAuth:          10,
		protocol.CodeRate:          11,
		protocol.CodeBusy:          12,
		protocol.CodeSession:       13,
		protocol.CodeForbidden:     14,
		protocol.CodeNoTracker:     20,
		protocol.CodeTrackerID:     21,
		protocol.CodeTrackerNew:    22,
		protocol.CodeTrackerFull:   23,
		protocol.CodeVersion:       24,
		protocol.CodeNotMember:     30,
		protocol.CodeNotFound:      31,
		protocol.CodeExists:        32,
		protocol.CodeName:          33,
		protocol.CodeLimit:         34,
		protocol.CodePassword:      35,
		protocol.CodeConfig:        36,
		protocol.CodeAddrInUse:     37,
		protocol.CodeRenamed:       38,
		protocol.CodeNoSeeders:     40,
		protocol.CodeBadData:       41,
		protocol.CodeBadManifest:   42,
		protocol.CodeRevoked:       43,
		protocol.CodeDiskFull:      50,
		protocol.CodeTargetExists:  51,
		protocol.CodeSourceChanged: 52,
		protocol.CodeState:         53,
		protocol.CodePerm:          54,
		protocol.CodeLocked:        55,
		protocol.CodeNotRegular:    56,
	}
	status, ok := statuses[code]
	return status, ok
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
