package tracker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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
	if err := os.WriteFile(filepath.Join(dir, markName), []byte(id.String()+"\n"), 0o600); err != nil {
		return protocol.Errorf(protocol.CodeConfig, "the folder cannot be marked as new: %w", err)
	}
	return nil
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
	return nil
}
