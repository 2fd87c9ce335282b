//go:build unix

package main

import (
	"errors"
	"math"
	"syscall"
)

// noCoreDumps keeps keys and passwords in memory from being written to a file
// when the process crashes. Where it is refused, nothing else is lost.
func noCoreDumps() {
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
}

// maxOpenFiles returns how many files this process may have open; ok is false
// if that is not known. Go raises the soft limit to the hard one, but for
// one file, when a program starts: what comes back is all that there is.
func maxOpenFiles() (n uint64, ok bool) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return min(uint64(limit.Cur), math.MaxInt64), true //nolint:unconvert // it is signed on some systems
}

func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
