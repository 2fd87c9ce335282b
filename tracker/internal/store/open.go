package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// lockWait is long enough for a process that is just ending to let go of the
	// file, short enough for a person to wait.
	lockWait = time.Second
	// growBy is how much the file grows at a time once it is larger than that.
	// bbolt's 16 MiB would show on the disk of a tracker with little in it.
	growBy = 1 << 20
	// newSuffix names the file while it is being made.
	newSuffix = ".new"
)

// OpenBolt opens the file at path, and makes it if there is none: complete under
// another name first, so that a crash leaves either no file or a good one.
// Errors: E_LOCKED if another process has it open, E_STATE if it is damaged.
func OpenBolt(path string) (*Bolt, error) {
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		if err := create(path); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, fmt.Errorf("open store: %w", err)
	}
	b := &Bolt{path: path}
	if err := inspectFile(path); err != nil {
		return nil, b.damaged(err)
	}
	if err := b.open(); err != nil {
		return nil, err
	}
	return b, nil
}

func options() *bolt.Options {
	return &bolt.Options{Timeout: lockWait, FreelistType: bolt.FreelistMapType, NoStatistics: true}
}

// guard runs what uses the file. bbolt panics over pages that are damaged, and
// faults in its memory map where they cannot be read: that ends here as E_STATE.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &protocol.Error{Code: protocol.CodeState, Msg: fmt.Sprint(p)}
		}
	}()
	return f()
}

// open opens the file, which inspect has let pass.
func (b *Bolt) open() error {
	var db *bolt.DB
	err := guard(func() (err error) {
		db, err = bolt.Open(b.path, 0o600, options())
		return err
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return protocol.Errorf(protocol.CodeLocked, "another p2pshare uses %s; stop it first", b.path)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("open store: %w", err)
	case err != nil:
		return b.damaged(err)
	}
	db.AllocSize = growBy
	b.db = db
	return nil
}

func (b *Bolt) damaged(err error) error {
	return &protocol.Error{
		Code: protocol.CodeState,
		Msg: fmt.Sprintf("the catalog %s is damaged. Move it away and start again: the tracker then catches up "+
			"from the others; where there is no other one, put the latest copy of the catalog in its place", b.path),
		Err: err,
	}
}

// create makes an empty, complete file and gives it its name at the end.
func create(path string) error {
	tmp := path + newSuffix
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("create store: %w", err)
	}
	db, err := bolt.Open(tmp, 0o600, options())
	if err != nil {
		return fmt.Errorf("create store: %w", err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range []string{factBucket, blobBucket, metaBucket} {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	err = errors.Join(err, db.Sync(), db.Close())
	if err != nil {
		return fmt.Errorf("create store: %w", errors.Join(err, os.Remove(tmp)))
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("create store: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the new name itself durable. Windows has no such call and needs none.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("create store: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync folder of store: %w", err)
	}
	return nil
}
