// Package filestore reads and grows the files of this client: originals that
// are shared where they lie, and partial files beside their target. The node
// opens them, the swarm writes pieces, the piece server reads them. All paths
// of downloads are reached through os.Root. It knows no network and no records:
// what it must remember goes through Journal.
package filestore

import (
	"os"
	"time"

	logging "github.com/ipfs/go-log/v2"
)

var log = logging.Logger("p2pshare/filestore")

// Stamp tells whether a file is still the one that was hashed.
type Stamp struct {
	Size    int64
	ModTime time.Time
	Inode   uint64 // 0 where the system has none
}

// same reports whether both stamps can be of one unchanged file.
func (s Stamp) same(o Stamp) bool {
	return s.Size == o.Size && s.ModTime.Equal(o.ModTime) &&
		(s.Inode == 0 || o.Inode == 0 || s.Inode == o.Inode)
}

// stampOf is the stamp of an open file.
func stampOf(f *os.File) (Stamp, error) {
	info, err := f.Stat()
	if err != nil {
		return Stamp{}, err
	}
	inode, err := inodeOf(f, info)
	if err != nil {
		return Stamp{}, err
	}
	return Stamp{Size: info.Size(), ModTime: info.ModTime(), Inode: inode}, nil
}

// Journal remembers which pieces of one partial file are on disk. Its methods
// return when that is durable.
type Journal interface {
	Load() (bits []byte, err error) // as in a bitfield; nil when there is none
	Save(bits []byte) error
}

// Verdict is what came of a piece.
type Verdict byte

// The verdicts.
const (
	Good         Verdict = iota + 1
	Corrupt              // neither hash matches: the peer's fault
	Inconsistent         // exactly one matches: the manifest's fault
)

// chunk is how much is read from a file at once: larger reads cost more CPU,
// since the bytes leave the processor's cache before they are hashed.
const chunk = 64 << 10
