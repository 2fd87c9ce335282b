package trackers

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
)

// pin is the id confirmed for an address that is listed without one.
type pin struct {
	id   peer.ID
	line int // in the file
}

// pinHeader begins the file, which people are told to edit.
const pinHeader = "# Trackers confirmed by hand: address and id. Delete a line to be asked again.\n"

// readPins reads the file: ADDRESS and ID a line, '#' comments. None is no error.
func readPins(path string) (map[string]pin, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]pin{}, nil
	}
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeState, "cannot read the confirmed trackers: %w", err)
	}
	return parsePins(path, string(content))
}

func parsePins(path, content string) (map[string]pin, error) {
	pins := map[string]pin{}
	for i, text := range strings.Split(content, "\n") {
		text, _, _ = strings.Cut(text, "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		id, err := peer.Decode(fields[len(fields)-1])
		if len(fields) < 2 || err != nil {
			return nil, protocol.Errorf(protocol.CodeState, "%s, line %d: not an address and a tracker's id; delete the line", path, i+1)
		}
		pins[strings.Join(fields[:len(fields)-1], " ")] = pin{id: id, line: i + 1}
	}
	return pins, nil
}

// addPin appends a line to the file and returns its number. The new content
// replaces the old at once, so that a crash leaves one or the other.
func addPin(path, address string, id peer.ID) (line int, err error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		content, err = []byte(pinHeader), nil
	}
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	content, line = withPin(content, address, id)
	tmp, err := os.CreateTemp(filepath.Dir(path), ".known-*") // mode 0600
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", path, err)
	}
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return 0, fmt.Errorf("write %s: %w", path, err)
	}
	return line, nil
}

// withPin appends a line and returns its number.
func withPin(content []byte, address string, id peer.ID) ([]byte, int) {
	if len(content) > 0 && content[len(content)-1] != '\n' {
		content = append(content, '\n')
	}
	line := bytes.Count(content, []byte("\n")) + 1
	return fmt.Appendf(content, "%s %s\n", address, id), line
}
