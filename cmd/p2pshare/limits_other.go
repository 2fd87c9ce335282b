//go:build !unix

package main

import (
	"errors"
	"syscall"
)

// noCoreDumps has nothing to switch off here.
func noCoreDumps() {}

// ERROR_DISK_FULL and ERROR_HANDLE_DISK_FULL of Windows.
const (
	errDiskFull       = syscall.Errno(112)
	errHandleDiskFull = syscall.Errno(39)
)

func isDiskFull(err error) bool {
	return errors.Is(err, errDiskFull) || errors.Is(err, errHandleDiskFull)
}
