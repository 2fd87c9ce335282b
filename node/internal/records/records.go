// Package records keeps what a client remembers across restarts, in one bbolt
// file of its data folder: session, shares, downloads with their journals,
// logouts and ended shares not yet told, bad peers. The node is its only user. It
// knows nothing of what the records mean.
package records

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	logging "github.com/ipfs/go-log/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/protocol"
)

var log = logging.Logger("p2pshare/records")

// Names in the data folder.
const (
	fileName = "records.db"
	badName  = "records.db.bad" // a damaged file, kept for whoever wants to look
	newName  = "records.db.new" // in the making; worthless after a crash
)

// openTimeout bounds the wait for a program that reads the file itself, such as
// a tool that looks into it. Other clients are kept out by the folder's lock.
const openTimeout = time.Second

// Records is safe for concurrent use. Every change is on disk when it returns.
type Records struct {
	db      *bbolt.DB
	damaged string
}

// Open opens or makes the file in dir, which it makes too. The caller holds the
// folder's lock. E_LOCKED if another program has the file open all the same, E_PERM if other users can read it. A damaged file is kept as
// *.bad, what can be read of it goes on in a new one, and Damaged tells of it.
func Open(dir string) (*Records, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, filestore.LocalFault(err, "making the folder", dir)
	}
	r := new(Records)
	if err := r.open(dir); err != nil {
		return nil, filestore.LocalFault(err, "opening", filepath.Join(dir, fileName))
	}
	return r, nil
}

func (r *Records) open(dir string) error {
	path := filepath.Join(dir, fileName)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = replace(dir, nil)
	case err != nil:
	case !info.Mode().IsRegular():
		err = protocol.Errorf(protocol.CodeState, "%s is not a regular file; move it away", protocol.Printable(path))
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		err = protocol.Errorf(protocol.CodePerm, "%s can be read by other users; run chmod 600 on it", protocol.Printable(path))
	default:
		err = r.repair(dir, path)
	}
	if err != nil {
		return err
	}
	r.db, err = bbolt.Open(path, 0o600, options())
	if errors.Is(err, bolterrors.ErrTimeout) {
		return protocol.Errorf(protocol.CodeLocked, "another program has %s open", protocol.Printable(path))
	}
	if err != nil {
		return err
	}
	if err := errors.Join(r.addBuckets(), r.dropManifests()); err != nil {
		return errors.Join(err, r.db.Close())
	}
	return nil
}

// addBuckets makes what a file lacks that an older version made.
func (r *Records) addBuckets() error {
	complete := true
	err := r.view(func(tx *bbolt.Tx) error {
		for _, name := range buckets() {
			complete = complete && tx.Bucket([]byte(name)) != nil
		}
		return nil
	})
	if err != nil || complete {
		return err
	}
	return r.update(makeBuckets)
}

func makeBuckets(tx *bbolt.Tx) error {
	for _, name := range buckets() {
		if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return err
		}
	}
	return nil
}

// options keep no list of free pages in the file, so that a damaged list cannot
// let a page be used twice: it is made afresh at each opening.
func options() *bbolt.Options {
	return &bbolt.Options{Timeout: openTimeout, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, NoStatistics: true}
}

// repair looks at every byte of the file that matters, before bbolt maps it and
// would trip over what is wrong, and replaces it by what is right in it.
func (r *Records) repair(dir, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	// A sound file is only looked at: its manifests need not all fit in memory.
	fault := inspect(f, func(entry) {})
	var found []entry
	if fault != nil {
		fault = inspect(f, func(e entry) { found = append(found, e) })
	}
	if err := f.Close(); err != nil || fault == nil {
		return err
	}
	bad := filepath.Join(dir, badName)
	log.Errorw("the records are damaged", "file", path, "kept", bad, "read", len(found), "err", fault)
	if err := keep(path, bad); err != nil {
		return err
	}
	r.damaged = fmt.Sprintf("the records of this client were damaged (%v); the file is kept as %s, and the %d records that could be read go on", fault, protocol.Printable(bad), len(found))
	return replace(dir, found)
}

// keep copies the file at path, in place of one kept before.
func keep(path, as string) error {
	if err := os.Remove(as); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(as, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Sync(), to.Close())
}

// replace makes a file of the entries beside the real one and moves it there:
// the making of a bbolt file is not safe against a crash in its middle.
func replace(dir string, entries []entry) error {
	path := filepath.Join(dir, newName)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := bbolt.Open(path, 0o600, options())
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		if err := makeBuckets(tx); err != nil {
			return err
		}
		for _, e := range entries {
			if b := tx.Bucket([]byte(e.bucket)); b != nil {
				if err := b.Put(e.key, seal(e.bucket, e.key, e.payload)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Rename(path, filepath.Join(dir, fileName)); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	return errors.Join(filestore.SyncFolder(root), root.Close())
}

// Damaged says what was lost because the file was damaged when it was opened
// (E_STATE, for a person to read); empty if nothing was.
func (r *Records) Damaged() string { return r.damaged }

// Close closes the file.
func (r *Records) Close() error {
	return filestore.LocalFault(r.db.Close(), "closing", fileName)
}
