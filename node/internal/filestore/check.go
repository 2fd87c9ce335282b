package filestore

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/p2pshare/p2pshare/protocol"
)

// CheckFinished compares the SHA-1 of a finished download, as it is on disk,
// with the manifest. It takes a second for each GiB, which is why the download
// does not wait for it. bad lists pieces that are not what was written: then
// the file has lost its final name and is a partial one again, which OpenPartial
// takes up. Errors: E_BAD_MANIFEST when all pieces are good and the whole is not, E_NOT_FOUND when the user has
// moved the file, or put another one there; E_STATE, E_PERM.
func CheckFinished(ctx context.Context, t Target, m *protocol.Manifest, j Journal) (bad []int, err error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(t.Dir)
	if err != nil {
		return nil, LocalFault(err, "opening the folder", t.Dir)
	}
	defer root.Close()
	c := checker{target: t, manifest: m, journal: j, root: root}
	bad, err = c.check(ctx)
	return bad, LocalFault(err, "checking", t.Path())
}

// checker is one CheckFinished.
type checker struct {
	target   Target
	manifest *protocol.Manifest
	journal  Journal
	root     *os.Root
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
	before, err := stampOf(c.file)
	if err != nil {
		return nil, err
	}
	sum, err := wholeSHA1(ctx, c.file, c.manifest.Size)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err == nil && sum == c.manifest.SHA1 {
		return nil, nil
	}
	good, ctxErr := recheck(ctx, c.file, c.manifest, allPieces(c.manifest))
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
		return bad, c.takeBack(before, good)
	case err != nil:
		return nil, err
	default:
		return nil, protocol.Errorf(protocol.CodeBadManifest, "the description of this file contradicts itself: every piece is right and the whole has sha1 %s, not %s", sum, c.manifest.SHA1)
	}
}

// takeBack makes the file a partial one with the good pieces, unless the user
// has changed it or put another one in its place.
func (c *checker) takeBack(before Stamp, good bitfield) error {
	after, err := stampOf(c.file)
	if err != nil {
		return err
	}
	here, err := c.file.Stat()
	if err != nil {
		return err
	}
	there, err := c.root.Lstat(c.target.Name)
	if err != nil {
		return err
	}
	if !before.same(after) || !os.SameFile(here, there) {
		return c.replaced()
	}
	if _, err := c.root.Lstat(c.target.Part); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(targetExists(Target{Dir: c.target.Dir, Name: c.target.Part}.Path()), err)
	}
	// The journal first: what it claims must be on disk at all times.
	if err := c.journal.Save(good.clone()); err != nil {
		return journalFault(err, c.target.Path())
	}
	if err := c.root.Rename(c.target.Name, c.target.Part); err != nil {
		return err
	}
	return SyncFolder(c.root)
}

func (c *checker) replaced() error {
	return protocol.Errorf(protocol.CodeNotFound, "%s is not the file that was downloaded any more", shown(c.target.Path()))
}
