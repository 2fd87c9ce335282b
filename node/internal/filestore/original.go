package filestore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

// checkPace is how often a shared file is compared with what was hashed, at most.
const checkPace = time.Second

// Original is a shared file, open for reading. It implements piece.Content
// together with the methods below, and is safe for concurrent use.
type Original struct {
	path     string
	stamp    Stamp
	manifest *protocol.Manifest
	file     *os.File

	mu      sync.Mutex
	checked time.Time // when the file was looked at last
	changed error     // stays once set
}

// OpenOriginal opens path if it is still the file of stamp: E_SOURCE_CHANGED,
// E_NOT_FOUND, E_NOT_REGULAR, E_PERM otherwise.
func OpenOriginal(path string, stamp Stamp, m *protocol.Manifest) (*Original, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, LocalFault(err, "opening", path)
	}
	f, err := openRegular(abs)
	if err != nil {
		return nil, err
	}
	o := &Original{path: abs, stamp: stamp, manifest: m, file: f}
	if err := o.Changed(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return o, nil
}

// Manifest returns what it was opened with.
func (o *Original) Manifest() *protocol.Manifest { return o.manifest }

// Have reports complete.
func (o *Original) Have() (complete bool, bits []byte) {
	return true, fullBitfield(len(o.manifest.Pieces))
}

// Subscribe never calls f: nothing is added.
func (o *Original) Subscribe(func(piece int)) (cancel func()) { return func() {} }

// ReadAt reads what was hashed or fails: E_SOURCE_CHANGED from the first look
// that finds the file changed, E_NOT_FOUND if it is gone. It looks at the open
// file after each read, and at most once a second at where the path leads.
func (o *Original) ReadAt(p []byte, off int64) (int, error) {
	if err := o.due(); err != nil {
		return 0, err
	}
	if off < 0 || off >= o.stamp.Size {
		return 0, io.EOF
	}
	wanted := p[:min(int64(len(p)), o.stamp.Size-off)]
	n, err := o.file.ReadAt(wanted, off)
	switch {
	case n == len(wanted):
		if err := o.unchanged(); err != nil {
			return 0, err
		}
		if n < len(p) {
			return n, io.EOF
		}
		return n, nil
	case errors.Is(err, io.EOF): // shorter than it was
		return n, o.give(o.sourceChanged())
	case errors.Is(err, fs.ErrClosed):
		return n, protocol.Errorf(protocol.CodeNotFound, "%s is not shared any more", shown(o.path))
	default:
		return n, LocalFault(err, "reading", o.path)
	}
}

// Changed looks now and returns nil, or why the file is not the one that was
// hashed any more. What it once returned it returns for ever.
func (o *Original) Changed() error {
	o.mu.Lock()
	changed := o.changed
	o.checked = time.Now()
	o.mu.Unlock()
	if changed != nil {
		return changed
	}
	return o.give(o.look())
}

// Close closes the file.
func (o *Original) Close() error { return o.file.Close() }

// due is Changed if the last look is long enough ago.
func (o *Original) due() error {
	o.mu.Lock()
	changed, recent := o.changed, time.Since(o.checked) < checkPace
	o.mu.Unlock()
	if changed != nil || recent {
		return changed
	}
	return o.Changed()
}

// unchanged looks at size and time of the open file alone.
func (o *Original) unchanged() error {
	info, err := o.file.Stat()
	switch {
	case errors.Is(err, fs.ErrClosed):
		return protocol.Errorf(protocol.CodeNotFound, "%s is not shared any more", shown(o.path))
	case err != nil:
		return LocalFault(err, "reading", o.path)
	case info.Size() != o.stamp.Size || !info.ModTime().Equal(o.stamp.ModTime):
		return o.give(o.sourceChanged())
	}
	return nil
}

// IsGone reports whether an error means that a file is not what it was, rather
// than that it cannot be looked at just now.
func IsGone(err error) bool {
	switch protocol.CodeOf(err) {
	case protocol.CodeSourceChanged, protocol.CodeNotFound, protocol.CodeNotRegular, protocol.CodePerm:
		return true
	default:
		return false
	}
}

// give keeps the first reason for which the file is gone and returns it; a
// passing fault is returned once.
func (o *Original) give(err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed == nil && IsGone(err) {
		o.changed = err
	}
	if o.changed != nil {
		return o.changed
	}
	return err
}

// look compares the open file with the stamp, and with what its path leads to.
func (o *Original) look() error {
	now, err := stampOf(o.file)
	if err != nil {
		return LocalFault(err, "reading", o.path)
	}
	if now.Size != o.manifest.Size || !now.same(o.stamp) {
		return o.sourceChanged()
	}
	there, err := os.Stat(o.path)
	if err != nil {
		return LocalFault(err, "reading", o.path)
	}
	here, err := o.file.Stat()
	if err != nil {
		return LocalFault(err, "reading", o.path)
	}
	if !os.SameFile(there, here) {
		return o.sourceChanged()
	}
	return nil
}

func (o *Original) sourceChanged() error {
	return protocol.Errorf(protocol.CodeSourceChanged, "%s changed on disk; share it again with upload_file", shown(o.path))
}
