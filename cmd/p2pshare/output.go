package main

import (
	"errors"
	"io"
	"io/fs"
	"sync"
	"syscall"

	"github.com/p2pshare/p2pshare/protocol"
)

// output is the standard output of the process. All results go through it, so
// that none is lost unnoticed: what cannot be written fails the command that
// wrote it, and with it the process. A reader that has gone away, as head does,
// is no failure.
type output struct {
	to io.Writer

	mu     sync.Mutex
	failed error // the first failure
}

// Write fails with E_DISK_FULL where there is no room, else with E_INTERNAL.
func (o *output) Write(b []byte) (int, error) {
	n, err := o.to.Write(b)
	if err == nil || errors.Is(err, syscall.EPIPE) {
		return len(b), nil
	}
	err = outputFault(err)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed == nil {
		o.failed = err
	}
	return n, err
}

// failure returns the first error of a write, nil if there was none.
func (o *output) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed
}

func outputFault(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		err = at.Err // the path is that of a standard stream
	}
	code := protocol.CodeInternal
	if isDiskFull(err) {
		code = protocol.CodeDiskFull
	}
	return protocol.Errorf(code, "standard output cannot be written: %w", err)
}
