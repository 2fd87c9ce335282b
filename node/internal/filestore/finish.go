package filestore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// publicMode is the mode of a finished file, less what the user's mask
	// takes away. It is never executable.
	publicMode = 0o644
	// probeSuffix and claimPrefix: see maskedMode and claim.
	probeSuffix = ".mode"
	claimPrefix = "p2pshare: the file of this name is about to be moved here from "
)

// Finish syncs, links the file into place without replacing anything, syncs the
// folder. missing lists pieces that are not here (yet): fetch them and call
// Finish again. Finished is finished: repeating it returns the same. What came
// of the writes, CheckFinished tells.
// Errors: E_TARGET_EXISTS, E_DISK_FULL, E_STATE.
func (p *Partial) Finish(ctx context.Context) (path string, stamp Stamp, missing []int, err error) {
	if err := p.enter(); err != nil {
		return "", Stamp{}, nil, err
	}
	defer p.leave()
	select {
	case p.finishing <- struct{}{}:
	case <-ctx.Done():
		return "", Stamp{}, nil, ctx.Err()
	}
	defer func() { <-p.finishing }()
	if ctx.Err() != nil {
		return "", Stamp{}, nil, ctx.Err()
	}
	if !p.placed {
		if err = p.sync.flush(); err != nil {
			return "", Stamp{}, nil, LocalFault(err, "writing", p.partPath())
		}
		if missing = p.pieces.missing(); len(missing) > 0 {
			return "", Stamp{}, missing, nil
		}
		if err = p.place(); err != nil {
			return "", Stamp{}, nil, LocalFault(err, "moving the finished download to", p.target.Path())
		}
		p.placed = true
	}
	if err = p.settle(); err != nil {
		return "", Stamp{}, nil, LocalFault(err, "finishing", p.target.Path())
	}
	if stamp, err = stampOf(p.file); err != nil {
		return "", Stamp{}, nil, LocalFault(err, "reading", p.target.Path())
	}
	return p.target.Path(), stamp, nil, nil
}

// place gives the file its final name and mode, and replaces nothing.
func (p *Partial) place() error {
	own, err := p.named(p.target.Part)
	if err != nil {
		return err
	}
	if !own {
		return protocol.Errorf(protocol.CodeState, "the partial file %s was removed or replaced by another program", shown(p.partPath()))
	}
	if err := p.file.Chmod(p.maskedMode()); err != nil {
		return err
	}
	if err := p.file.Sync(); err != nil {
		return err
	}
	err = p.link()
	if err != nil {
		err = errors.Join(err, p.file.Chmod(0o600))
	}
	return err
}

// link gives the file its second name, the final one. Where the file system
// has no second names, the file moves onto a claim.
func (p *Partial) link() error {
	err := p.env.link(p.root, p.target.Part, p.target.Name)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist):
		if own, sameErr := p.named(p.target.Name); own && sameErr == nil {
			return nil // done by a call whose answer was lost
		}
		return targetExists(p.target.Path())
	case isDiskFull(err):
		return err
	}
	log.Debugw("no hard links here, moving instead", "file", p.manifest.ID(), "err", err)
	if err := p.claim(); err != nil {
		return err
	}
	info, err := p.root.Lstat(p.target.Name)
	if err != nil {
		return err
	}
	if !p.isClaim(info) {
		return targetExists(p.target.Path())
	}
	return p.root.Rename(p.target.Part, p.target.Name)
}

// claim makes a file under the final name, which fails if there is one, and
// writes into it whose it is: moving the partial file onto it replaces nothing
// but the claim, and a claim left by a crash is known as one.
func (p *Partial) claim() error {
	f, err := p.root.OpenFile(p.target.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return targetExists(p.target.Path())
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, p.claimText())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, p.root.Remove(p.target.Name))
	}
	return nil
}

func (p *Partial) claimText() string { return claimPrefix + p.target.Part + "\n" }

// isClaim reports whether the regular file under the final name is our claim.
func (p *Partial) isClaim(final os.FileInfo) bool {
	if !final.Mode().IsRegular() || final.Size() != int64(len(p.claimText())) {
		return false
	}
	text, err := p.root.ReadFile(p.target.Name)
	return err == nil && string(text) == p.claimText()
}

// settle removes the partial file's name and makes the folder durable. It may
// be repeated.
func (p *Partial) settle() error {
	if err := p.env.syncFolder(p.root); err != nil {
		return err
	}
	return p.removePart()
}

// maskedMode finds out publicMode less the user's mask, which a program can
// ask for only by changing it for all its goroutines; so a file is made to see.
func (p *Partial) maskedMode() os.FileMode {
	name := p.target.Part + probeSuffix
	_ = p.root.Remove(name) // left by a crash
	f, err := p.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, publicMode)
	if err != nil {
		log.Errorw("the mode of new files is not known, keeping the download private", "err", err)
		return 0o600
	}
	mode := os.FileMode(0o600)
	if info, err := f.Stat(); err == nil {
		mode = info.Mode().Perm() & publicMode
	}
	if err := errors.Join(f.Close(), p.root.Remove(name)); err != nil {
		log.Errorw("a temporary file stays", "err", err)
	}
	return mode
}
