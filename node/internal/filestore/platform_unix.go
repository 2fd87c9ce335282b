//go:build !windows

package filestore

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// nonblock keeps the opening of a FIFO that took a regular file's place from
// waiting for its other end. Reads of regular files never mind it.
const nonblock = syscall.O_NONBLOCK

func inodeOf(_ *os.File, info os.FileInfo) (uint64, error) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino, nil
	}
	return 0, nil
}

// facts are what the system tells of a file beyond os.FileInfo.
type facts struct {
	own       bool  // belongs to the user of this process
	links     int   // names that it has
	allocated int64 // bytes of disk that it takes already
}

func factsOf(_ *os.File, info os.FileInfo) (facts, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return facts{own: true, links: 1}, nil
	}
	return facts{
		own:       int64(st.Uid) == int64(os.Geteuid()),
		links:     int(st.Nlink),
		allocated: st.Blocks * 512, // the unit of st_blocks, whatever the block size
	}, nil
}

// freeSpace is how many bytes this user may still store in dir.
func freeSpace(dir string) (uint64, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(dir, &st)
		if err == nil {
			return uint64(st.Bavail) * uint64(st.Bsize), nil //nolint:unconvert // Bavail is signed on FreeBSD
		}
		if !errors.Is(err, unix.EINTR) {
			return 0, err
		}
	}
}

func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// SyncFolder makes new and removed names in the root's folder durable.
func SyncFolder(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil // file systems that write names at once refuse
	}
	return errors.Join(err, d.Close())
}
