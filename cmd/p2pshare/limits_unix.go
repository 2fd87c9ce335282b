//go:build unix

package main

import (
	"errors"
	"syscall"
)

// noCoreDumps keeps keys and passwords in memory from being written to a file
// when the process crashes. Where it is refused, nothing else is lost.
func noCoreDumps() {
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
}

func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
