//go:build unix

package host

import (
	"math"
	"syscall"
)

// OpenFiles returns how many files this process may have open; ok is false
// if that is not known. Go raises the soft limit to the hard one, but for
// one file, when a program starts: what comes back is all that there is.
func OpenFiles() (n int, ok bool) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return int(min(uint64(limit.Cur), math.MaxInt32)), true //nolint:unconvert // it is signed on some systems
}
