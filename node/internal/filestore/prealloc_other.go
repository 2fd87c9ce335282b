//go:build !linux

package filestore

import (
	"context"
	"os"
)

// preallocate gives f its size, keeping what is in it, and reserves no room.
func preallocate(_ context.Context, f *os.File, size int64) (reserved bool, err error) {
	return false, f.Truncate(size)
}

// dataSync makes the bytes of f durable.
func dataSync(f *os.File) error { return f.Sync() }

// startSync does nothing here.
func startSync(*os.File, int64, int64) {}

// hasData reports whether the first bytes of n at off are not all zero. A piece
// that begins with zeros is taken for not written, which costs no more than
// another look at it.
func hasData(f *os.File, off, n int64) bool {
	head := make([]byte, min(4<<10, n))
	if _, err := f.ReadAt(head, off); err != nil {
		return true
	}
	for _, b := range head {
		if b != 0 {
			return true
		}
	}
	return false
}
