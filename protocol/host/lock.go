package host

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/flock"
)

// Lock makes this process the only one that uses dir, until unlock or its end,
// however it ends. It makes dir if need be. E_LOCKED names the other's process
// id. The lock is also held against a second Lock in the same process.
func Lock(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, keyError(dir, err)
	}
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, keyError(path, err)
	}
	held, err := flock.Try(f)
	if err != nil {
		return nil, errors.Join(keyError(path, err), f.Close())
	}
	if !held {
		err := protocol.Errorf(protocol.CodeLocked, "another p2pshare (pid %s) uses %s", readPid(f), protocol.Printable(dir))
		_ = f.Close() // nothing was written
		return nil, err
	}
	// The number is for people; the lock itself is the system's.
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return nil, errors.Join(keyError(path, err), f.Close())
	}
	// The file stays: removing it would let two processes lock two files of one name.
	return f.Close, nil
}

func readPid(f *os.File) string {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	pid := strings.TrimSpace(string(b))
	if _, convErr := strconv.Atoi(pid); err != nil || convErr != nil {
		return "unknown"
	}
	return pid
}
