package filestore

import (
	"context"
	"os"

	"github.com/p2pshare/p2pshare/protocol"
)

// Faults stand between a Partial and the disk; nil means no fault.
type Faults struct {
	Write       func(off int64, n int) error
	Written     func(off int64, n int) // after a write
	Read        func(off int64) error
	Sync        func() error // in place of a sync if it returns an error
	NoSync      bool         // for tests in which nothing but a process dies
	FreeSpace   func() (uint64, error)
	Preallocate func(f *os.File) error
	Link        func() error // in place of a link
	BeforeLink  func() error // before one; no link if it returns an error
	SyncFolder  func() error // in place of a sync of the folder
}

// OpenFaulty is OpenPartial on a disk with faults.
func OpenFaulty(ctx context.Context, t Target, m *protocol.Manifest, j Journal, faults *Faults) (*Partial, error) {
	e := system()
	e.storage = func(f *os.File) storage { return &faultyFile{File: f, faults: faults} }
	if faults.FreeSpace != nil {
		e.freeSpace = func(string) (uint64, error) { return faults.FreeSpace() }
	}
	if faults.Preallocate != nil {
		e.preallocate = func(_ context.Context, f *os.File, _ int64) (bool, error) { return false, faults.Preallocate(f) }
	}
	if faults.NoSync {
		e.syncFolder = func(*os.Root) error { return nil }
	}
	if faults.Link != nil {
		e.link = func(*os.Root, string, string) error { return faults.Link() }
	}
	if faults.BeforeLink != nil {
		link := e.link
		e.link = func(root *os.Root, oldname, newname string) error {
			if err := faults.BeforeLink(); err != nil {
				return err
			}
			return link(root, oldname, newname)
		}
	}
	if faults.SyncFolder != nil {
		e.syncFolder = func(*os.Root) error { return faults.SyncFolder() }
	}
	return openPartial(ctx, t, m, j, e)
}

type faultyFile struct {
	*os.File
	faults *Faults
}

func (f *faultyFile) ReadAt(b []byte, off int64) (int, error) {
	if f.faults.Read != nil {
		if err := f.faults.Read(off); err != nil {
			return 0, err
		}
	}
	return f.File.ReadAt(b, off)
}

func (f *faultyFile) WriteAt(b []byte, off int64) (int, error) {
	if f.faults.Write != nil {
		if err := f.faults.Write(off, len(b)); err != nil {
			n, _ := f.File.WriteAt(b[:len(b)/2], off) // torn, as by a full disk
			return n, err
		}
	}
	n, err := f.File.WriteAt(b, off)
	if f.faults.Written != nil {
		f.faults.Written(off, n)
	}
	return n, err
}

func (f *faultyFile) Sync() error {
	if f.faults.Sync != nil {
		if err := f.faults.Sync(); err != nil {
			return err
		}
	}
	if f.faults.NoSync {
		return nil
	}
	return dataSync(f.File)
}

// WritePiece is Verify and, if good, Store.
func (p *Partial) WritePiece(i int, data []byte) (Verdict, error) {
	if v := p.Verify(i, data); v == Corrupt || v == Inconsistent {
		return v, nil
	}
	if err := p.Store(i, data); err != nil {
		return 0, err
	}
	return Good, nil
}

// ParseBitfield tells how many pieces are marked.
func ParseBitfield(b []byte, pieces int) (count int, ok bool) {
	bits, ok := parseBitfield(b, pieces)
	return bits.count(), ok
}

// ClaimText is what a claim on a name of t says.
func ClaimText(t Target) string { return (&Partial{target: t}).claimText() }
