package filestore

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/zeebo/blake3"

	"github.com/p2pshare/p2pshare/protocol"
)

// partPrefix begins the names of partial files; no download may be called so.
const partPrefix = ".p2ps-"

// maxName is the longest name of a file that common file systems take, in bytes.
const maxName = 255

// Target says where a download goes.
type Target struct {
	Dir  string // existing folder
	Name string // one component, checked
	// Part is the name of the partial file in Dir.
	Part string
	// Folder is the inode of Dir when the download began; 0 if it is not known.
	// The folder that a disk is mounted on has another one.
	Folder uint64
}

// Path is where the finished file will be.
func (t Target) Path() string { return filepath.Join(t.Dir, t.Name) }

// ResolveTarget turns the destination that a user named into a Target: an
// existing folder or "" (then fallback) keeps name; anything else is the new
// file's path, whose folder must exist. Relative paths are resolved at once.
// Errors: E_TARGET_EXISTS, E_NOT_FOUND, E_NAME, E_PERM.
func ResolveTarget(dest, fallback, name string, id protocol.FileID, clientID string) (Target, error) {
	if _, err := protocol.CanonicalFile(name); err != nil {
		return Target{}, err
	}
	dir := dest
	switch folder, err := isFolder(dest); {
	case dest == "":
		dir = fallback
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return Target{}, LocalFault(err, "looking at the destination", dest)
	case folder:
	case os.IsPathSeparator(dest[len(dest)-1]):
		return Target{}, noFolder(dest)
	default:
		dir, name = filepath.Split(dest)
		if fault := localNameFault(name); fault != "" {
			return Target{}, protocol.Errorf(protocol.CodeName, "the file name %s is not allowed: %s", protocol.Quote(name), fault)
		}
	}
	dir, err := filepath.Abs(dir) // "" is the current folder
	if err != nil {
		return Target{}, LocalFault(err, "looking at the destination", dest)
	}
	t := Target{Dir: dir, Name: name, Part: partName(id, clientID)}
	if folder, err := isFolder(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Target{}, LocalFault(err, "looking at the folder", dir)
	} else if !folder {
		return Target{}, noFolder(dir)
	}
	t.Folder = folderID(os.Open(dir))
	switch _, err := os.Lstat(t.Path()); {
	case err == nil:
		return Target{}, targetExists(t.Path())
	case !errors.Is(err, fs.ErrNotExist):
		return Target{}, LocalFault(err, "looking at the destination", t.Path())
	}
	return t, nil
}

func isFolder(path string) (bool, error) {
	info, err := os.Stat(path)
	return err == nil && info.IsDir(), err
}

// folderID returns the inode of an open folder, which it closes; 0 if it cannot.
func folderID(f *os.File, err error) uint64 {
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	id, err := inodeOf(f, info)
	if err != nil {
		return 0
	}
	return id
}

func noFolder(dir string) error {
	return protocol.Errorf(protocol.CodeNotFound, "the folder %s does not exist", shown(dir))
}

// localNameFault judges a name that the user of this machine chose. It may be
// unusual, but one component, and not one of ours.
func localNameFault(name string) string {
	switch {
	case name == "" || name == "." || name == ".." || !filepath.IsLocal(name) || filepath.Base(name) != name:
		return "it is not the name of a file in a folder"
	case len(name) > maxName:
		return "it is longer than 255 bytes"
	case strings.HasPrefix(name, partPrefix):
		return "partial files are called so"
	case protocol.Printable(name) != name:
		return "it contains a control or invisible character"
	}
	return ""
}

// partName is the same after a restart, so that a download finds its partial
// file, and differs between clients that use one folder. The ids of clients
// all begin alike, so a hash of them is shortened.
func partName(id protocol.FileID, clientID string) string {
	client := blake3.Sum256([]byte(clientID))
	return partPrefix + hex.EncodeToString(id[:8]) + "-" + hex.EncodeToString(client[:4]) + ".part"
}

// check refuses a Target that could lead out of its folder, or confuse the
// partial file with another.
func (t Target) check() error {
	if localNameFault(t.Name) != "" {
		return protocol.Errorf(protocol.CodeName, "the destination %s is not the name of a file in a folder", protocol.Quote(t.Name))
	}
	if !filepath.IsLocal(t.Part) || filepath.Base(t.Part) != t.Part || !strings.HasPrefix(t.Part, partPrefix) {
		return protocol.Errorf(protocol.CodeState, "the record of the download names %s as its partial file", protocol.Quote(t.Part))
	}
	return nil
}
