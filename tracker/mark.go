package tracker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

// markName is the file in a tracker's folder that marks it as one of a new
// network.
const markName = "new-network"

// MarkNew lets the tracker of the folder begin the network of that id, which
// all trackers that begin it together are given. It is on disk before the
// tracker begins, so that one that crashed begins the same network again; a
// Tracker takes it away once it serves: a wiped disk must not begin the network
// afresh. A mark that is there stays.
func MarkNew(dir string, id protocol.NetworkID) error {
	if have, err := readMark(dir); err != nil || !have.IsZero() {
		return err
	}
	if err := writeMark(dir, id.String()+"\n"); err != nil {
		return protocol.Errorf(protocol.CodeConfig, "the folder cannot be marked as new: %w", err)
	}
	return nil
}

// writeMark leaves the whole file or none, whenever the power fails.
func writeMark(dir, content string) error {
	temp, err := os.CreateTemp(dir, ".mark-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = temp.WriteString(content)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), filepath.Join(dir, markName))
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return syncDir(dir)
}

// syncDir makes a name, or that it is gone, durable. Windows cannot open folders
// for that.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

const (
	// freshMark is how old a mark may be for its network to be one that has not
	// begun yet: people start what they have just set up.
	freshMark = time.Hour
	// staleWait is how long the tracker of an older mark waits for others that do
	// not answer. The network may have been alive for long, and they be away for a
	// moment; without them this one would begin with an empty catalog.
	staleWait = time.Minute
)

// beginAfter is how long a marked tracker waits for others that do not answer,
// beyond what every start waits. The folder may be without a mark.
func beginAfter(dir string) time.Duration {
	info, err := os.Stat(filepath.Join(dir, markName))
	if err != nil || time.Since(info.ModTime()) < freshMark {
		return 0
	}
	return staleWait
}

// readMark returns the network that the folder may begin, zero if none.
func readMark(dir string) (protocol.NetworkID, error) {
	path := filepath.Join(dir, markName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return protocol.NetworkID{}, nil
	}
	if err != nil {
		return protocol.NetworkID{}, protocol.Errorf(protocol.CodeState, "the mark of a new network cannot be read: %w", err)
	}
	id, err := protocol.ParseID[protocol.NetworkID](strings.TrimSpace(string(b)))
	if err != nil {
		return id, protocol.Errorf(protocol.CodeState, "%s is damaged: %w", protocol.Printable(path), err)
	}
	return id, nil
}

func dropMark(dir string) error {
	if err := os.Remove(filepath.Join(dir, markName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("take away the mark of a new network: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("take away the mark of a new network: %w", err)
	}
	return nil
}
