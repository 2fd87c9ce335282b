package filestore

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// allocateStep bounds one call: a signal makes some file systems begin a call
// afresh, and between two calls the context is looked at.
const allocateStep = 256 << 20

// preallocate gives f its size and its room on disk, keeping what is in it, so
// that no later write finds the disk full. Where the file system cannot, f gets
// its size only, and reserved is false.
func preallocate(ctx context.Context, f *os.File, size int64) (reserved bool, err error) {
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n := min(allocateStep, size-off)
		err := unix.Fallocate(int(f.Fd()), 0, off, n)
		switch {
		case err == nil:
			off += n
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
			return false, f.Truncate(size)
		default:
			return false, os.NewSyscallError("fallocate", err)
		}
	}
	return true, nil
}

// dataSync makes the bytes of f durable, and of its metadata what reading them
// needs. That is cheaper than Sync, which writes times too.
func dataSync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// startSync begins to write to the disk what was written to f. It promises
// nothing; dataSync does.
func startSync(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}

// hasData reports whether something was ever written between off and off+n.
// It may err on the side of true.
func hasData(f *os.File, off, n int64) bool {
	at, err := f.Seek(off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return false // a hole up to the end
	}
	return err != nil || at < off+n
}
