package filestore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/p2pshare/p2pshare/protocol"
)

// storage is the data of a partial file: an *os.File, or in tests one that fails.
type storage interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes what was written durable.
	Sync() error
}

// Partial is a file that grows. It implements piece.Content. Safe for concurrent use.
type Partial struct {
	target   Target
	manifest *protocol.Manifest
	env      env
	root     *os.Root
	file     *os.File
	data     storage // of file
	room     room
	pieces   *ledger
	sync     syncer
	lost     chan struct{} // one slot: see Lost
	// finishing holds one token, taken by the Finish under way. It guards placed.
	finishing chan struct{}
	placed    bool // the file has its final name

	mu     sync.Mutex
	closed bool

	// users are calls under way; Close waits for them. Added to under mu.
	users sync.WaitGroup
}

// enter begins a call that uses the file; leave must follow when it returns nil.
func (p *Partial) enter() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return protocol.Errorf(protocol.CodeNotFound, "the download of %s is closed", shown(p.target.Path()))
	}
	p.users.Add(1)
	return nil
}

func (p *Partial) leave() { p.users.Done() }

// Verify checks both hashes of a piece. It keeps the processor busy, and waits
// for nothing. It is 0 for a piece that the file does not have.
func (p *Partial) Verify(i int, data []byte) Verdict {
	if i < 0 || i >= len(p.manifest.Pieces) {
		return 0
	}
	if int64(len(data)) != p.manifest.PieceSize(i) {
		return Corrupt
	}
	return judgeBytes(data, p.manifest.Pieces[i])
}

// Store writes a piece that Verify found good; then it may be served. It is
// synced with others (8 MiB or 2 s) and journaled (64 MiB or 2 s); while 16 MiB
// are not synced, Store waits, as it does for a disk that does not answer. The
// error is a local fault (E_DISK_FULL, E_STATE, ...) and leaves the piece
// missing. A piece that is there already is not written.
func (p *Partial) Store(i int, data []byte) error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.leave()
	if i < 0 || i >= len(p.manifest.Pieces) || int64(len(data)) != p.manifest.PieceSize(i) {
		return protocol.Errorf(protocol.CodeInternal, "%d bytes as piece %d of a file with %d", len(data), i, len(p.manifest.Pieces))
	}
	if p.pieces.has(i) {
		return nil
	}
	if err := p.pieces.reserve(); err != nil {
		return err
	}
	err := p.room.take(int64(len(data)))
	if err == nil {
		_, err = p.data.WriteAt(data, p.manifest.PieceOffset(i))
	}
	if err != nil {
		p.pieces.unreserve()
		return LocalFault(err, "writing", p.partPath())
	}
	p.sync.poke(p.pieces.add(i))
	return nil
}

// Manifest returns what it was opened with.
func (p *Partial) Manifest() *protocol.Manifest { return p.manifest }

// Have returns the verified pieces.
func (p *Partial) Have() (complete bool, bits []byte) {
	have, complete := p.pieces.snapshot()
	return complete, have
}

// Subscribe calls f after each verified piece. f must not block and must not
// call cancel, which waits for a call under way.
func (p *Partial) Subscribe(f func(piece int)) (cancel func()) { return p.pieces.subscribe(f) }

// Lost gets a value when pieces that were verified are missing after all: a sync
// failed, and they could not be read back. It holds one value until it is read.
func (p *Partial) Lost() <-chan struct{} { return p.lost }

// ReadAt reads verified pieces only; others are E_NOT_FOUND.
func (p *Partial) ReadAt(b []byte, off int64) (int, error) {
	if err := p.enter(); err != nil {
		return 0, err
	}
	defer p.leave()
	m := p.manifest
	if off < 0 || off >= m.Size {
		return 0, io.EOF
	}
	wanted := b[:min(int64(len(b)), m.Size-off)]
	if len(wanted) == 0 {
		return 0, nil
	}
	first, last := off/m.PieceLength, (off+int64(len(wanted))-1)/m.PieceLength
	if i, lacking := p.pieces.lacks(int(first), int(last)); lacking {
		return 0, protocol.Errorf(protocol.CodeNotFound, "piece %d of %s is not here yet", i, protocol.Quote(m.Name))
	}
	n, err := p.data.ReadAt(wanted, off)
	switch {
	case n < len(wanted):
		return n, LocalFault(err, "reading", p.partPath())
	case n < len(b):
		return n, io.EOF
	default:
		return n, nil
	}
}

// Remove closes and deletes the partial file. A finished file stays.
func (p *Partial) Remove() error {
	if !p.shut() {
		return nil
	}
	p.sync.end()
	var err error
	if !p.placed {
		err = p.removePart()
	}
	return LocalFault(errors.Join(err, p.release()), "removing", p.partPath())
}

// Close syncs, journals and closes. It waits for calls under way. The file
// stays as it is, for another OpenPartial or finished.
func (p *Partial) Close() error {
	if !p.shut() {
		return nil
	}
	err := p.sync.flush()
	p.sync.end()
	return LocalFault(errors.Join(err, p.release()), "closing", p.partPath())
}

// shut keeps new calls out and waits for those under way. It reports false if
// another call did so before.
func (p *Partial) shut() bool {
	p.mu.Lock()
	before := p.closed
	p.closed = true
	p.mu.Unlock()
	p.users.Wait()
	return !before
}

// release closes what is open.
func (p *Partial) release() error {
	var err error
	if p.file != nil {
		err = p.file.Close()
	}
	return errors.Join(err, p.root.Close())
}

// removePart removes the name of the partial file if it is still that of file.
func (p *Partial) removePart() error {
	own, err := p.named(p.target.Part)
	if err != nil || !own {
		return err
	}
	if err := p.root.Remove(p.target.Part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return p.env.syncFolder(p.root)
}

// named reports whether name, not followed if it is a link, is that of file.
func (p *Partial) named(name string) (bool, error) {
	there, err := p.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	here, err := p.file.Stat()
	if err != nil {
		return false, err
	}
	return os.SameFile(there, here), nil
}

func (p *Partial) partPath() string { return Target{Dir: p.target.Dir, Name: p.target.Part}.Path() }
