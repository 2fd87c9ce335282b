package filestore

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/p2pshare/p2pshare/protocol"
)

// CheckFinished compares the SHA-1 of a finished download, as the system gives
// it back, with the manifest: from memory what is there still, the rest from the
// disk. It takes a second for each GiB, which is why the download does not wait
// for it. bad lists pieces that are not what was written: then
// the journal has the others, TakeBack makes the file a partial one again, and
// OpenPartial takes that up. Errors: E_BAD_MANIFEST when all pieces are good and the whole is not, E_NOT_FOUND
// when the user has moved or changed the file since Finish returned s, or put
// another one there; E_STATE, E_PERM.
func CheckFinished(ctx context.Context, t Target, m *protocol.Manifest, j Journal, s Stamp) (bad []int, err error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(t.Dir)
	if err != nil {
		return nil, LocalFault(err, "opening the folder", t.Dir)
	}
	defer root.Close()
	c := checker{target: t, manifest: m, journal: j, root: root, stamp: s}
	bad, err = c.check(ctx)
	return bad, LocalFault(err, "checking", t.Path())
}

// checker is one CheckFinished.
type checker struct {
	target   Target
	manifest *protocol.Manifest
	journal  Journal
	root     *os.Root
	stamp    Stamp // of the file that was finished
	file     *os.File
}

func (c *checker) check(ctx context.Context) (bad []int, err error) {
	info, err := c.root.Lstat(c.target.Name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() != c.manifest.Size {
		return nil, c.replaced()
	}
	if c.file, err = c.root.OpenFile(c.target.Name, os.O_RDONLY|nonblock, 0); err != nil {
		return nil, err
	}
	defer c.file.Close()
	if err := c.unchanged(); err != nil {
		return nil, err
	}
	sum, err := wholeSHA1(ctx, c.file, c.manifest.Size)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err == nil && sum == c.manifest.SHA1 {
		return nil, nil
	}
	good, ctxErr := recheck(ctx, c.file, c.manifest, allPieces(c.manifest), func(int64) {})
	if ctxErr != nil {
		return nil, ctxErr
	}
	for i := range c.manifest.Pieces {
		if !good.has(i) {
			bad = append(bad, i)
		}
	}
	switch {
	case len(bad) > 0:
		log.Errorw("pieces on disk are not what was written", "file", c.manifest.ID(), "piece", bad[0], "count", len(bad), "err", err)
		if err := c.unchanged(); err != nil {
			return nil, err
		}
		if err := c.journal.Save(good.clone()); err != nil {
			return nil, journalFault(err, c.target.Path())
		}
		return bad, nil
	case err != nil:
		return nil, err
	default:
		return nil, protocol.Errorf(protocol.CodeBadManifest, "the description of this file contradicts itself: every piece is right and the whole has sha1 %s, not %s", sum, c.manifest.SHA1)
	}
}

// unchanged returns E_NOT_FOUND if the user has changed the file, or put
// another one in its place.
func (c *checker) unchanged() error {
	same, err := stillThere(c.root, c.target.Name, c.file, c.stamp)
	if err == nil && !same {
		err = c.replaced()
	}
	return err
}

func (c *checker) replaced() error {
	return protocol.Errorf(protocol.CodeNotFound, "%s is not the file that was downloaded any more", shown(c.target.Path()))
}

// stillThere reports whether the open file is the one of this name and stamp.
func stillThere(root *os.Root, name string, f *os.File, s Stamp) (bool, error) {
	now, err := stampOf(f)
	if err != nil || !now.same(s) {
		return false, err
	}
	here, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := root.Lstat(name)
	return err == nil && os.SameFile(here, there), err
}

// TakeBack makes the finished file of this stamp a partial one again, and does
// nothing where it is one already. It leaves alone what the user has changed or
// put in its place: OpenPartial tells of that. Whatever the journal claims must
// be in the file. Errors: E_STATE, E_PERM, E_NOT_FOUND without the folder.
func TakeBack(t Target, s Stamp) error {
	if err := t.check(); err != nil {
		return err
	}
	root, err := os.OpenRoot(t.Dir)
	if err != nil {
		return LocalFault(err, "opening the folder", t.Dir)
	}
	defer root.Close()
	return LocalFault(takeBack(root, t, s), "taking back", t.Path())
}

func takeBack(root *os.Root, t Target, s Stamp) error {
	if info, err := root.Lstat(t.Name); errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil
	}
	f, err := root.OpenFile(t.Name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return err
	}
	same, err := stillThere(root, t.Name, f, s)
	if err := errors.Join(err, f.Close()); err != nil || !same {
		return err
	}
	if _, err := root.Lstat(t.Part); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := root.Rename(t.Name, t.Part); err != nil {
		return err
	}
	return SyncFolder(root)
}
