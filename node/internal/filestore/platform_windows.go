package filestore

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// nonblock is nothing here: opening never waits for another process.
const nonblock = 0

func inodeOf(f *os.File, _ os.FileInfo) (uint64, error) {
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &info); err != nil {
		return 0, os.NewSyscallError("GetFileInformationByHandle", err)
	}
	return uint64(info.FileIndexHigh)<<32 | uint64(info.FileIndexLow), nil
}

// facts are what the system tells of a file beyond os.FileInfo.
type facts struct {
	own       bool  // belongs to the user of this process
	links     int   // names that it has
	allocated int64 // bytes of disk that it takes already
}

// factsOf takes every file for our own: what others may write is a matter of
// the folder's access list, which the file inherits.
func factsOf(f *os.File, i os.FileInfo) (facts, error) {
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &info); err != nil {
		return facts{}, os.NewSyscallError("GetFileInformationByHandle", err)
	}
	return facts{own: true, links: int(info.NumberOfLinks), allocated: i.Size()}, nil
}

// freeSpace is how many bytes this user may still store in dir.
func freeSpace(dir string) (uint64, error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return 0, os.NewSyscallError("GetDiskFreeSpaceEx", err)
	}
	return free, nil
}

func isDiskFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

// SyncFolder does nothing: Windows has no such operation, NTFS journals names.
func SyncFolder(*os.Root) error { return nil }
