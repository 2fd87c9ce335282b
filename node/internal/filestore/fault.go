package filestore

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"github.com/p2pshare/p2pshare/protocol"
)

// shown is a path of this machine as a person reads it: escaped, never cut.
func shown(path string) string { return `"` + protocol.Printable(path) + `"` }

// LocalFault gives an error of this machine's disk its code. doing says what
// was tried, path with what. Errors with a code and ends of contexts pass, as
// does nil.
func LocalFault(err error, doing, path string) error {
	var coded *protocol.Error
	if err == nil || errors.As(err, &coded) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if at, ok := err.(*fs.PathError); ok && strings.HasSuffix(path, at.Path) { //nolint:errorlint // one further in says more than the path
		err = at.Err // doing and path are told anyway
	}
	switch {
	case isDiskFull(err):
		return protocol.Errorf(protocol.CodeDiskFull, "the disk is full: %s %s; make room there: %w", doing, shown(path), err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return protocol.Errorf(protocol.CodePerm, "no permission: %s %s: %w", doing, shown(path), err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return protocol.Errorf(protocol.CodeNotFound, "not found on this machine: %s %s: %w", doing, shown(path), err)
	case errors.Is(err, syscall.ENAMETOOLONG):
		return protocol.Errorf(protocol.CodeName, "the name is too long: %s %s", doing, shown(path))
	case errors.Is(err, syscall.EFBIG):
		return protocol.Errorf(protocol.CodeLimit, "limit reached: the file system cannot hold a file this large: %s %s: %w", doing, shown(path), err)
	default:
		return protocol.Errorf(protocol.CodeState, "the disk of this machine reports a fault: %s %s: %w", doing, shown(path), err)
	}
}

func targetExists(path string) error {
	return protocol.Errorf(protocol.CodeTargetExists, "%s already exists; name another destination", shown(path))
}
