package filestore

import (
	"context"
	"crypto/sha1"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/zeebo/blake3"

	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// hashBlocks bounds the memory of one Hash: 64 chunks of 64 KiB.
	hashBlocks = 64
	// pieceHashers keep up with the one goroutine that hashes the whole file,
	// which cannot be divided: each does SHA-1 and BLAKE3 of every second piece.
	pieceHashers = 2
)

// Hash reads a regular file once and returns its manifest under the base name
// of path. progress (may be nil) is told the bytes done, from one goroutine.
// Errors: E_NOT_FOUND, E_NOT_REGULAR, E_NAME, E_LIMIT, E_PERM, E_SOURCE_CHANGED
// when it changes meanwhile.
func Hash(ctx context.Context, path string, progress func(done, total int64)) (*protocol.Manifest, Stamp, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, Stamp{}, err
	}
	defer f.Close()
	name := filepath.Base(path)
	if _, err := protocol.CanonicalFile(name); err != nil {
		return nil, Stamp{}, err
	}
	before, err := stampOf(f)
	if err != nil {
		return nil, Stamp{}, LocalFault(err, "reading", path)
	}
	m := &protocol.Manifest{Name: name, Size: before.Size}
	if m.PieceLength, err = protocol.PieceLengthFor(m.Size); err != nil {
		return nil, Stamp{}, err
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	err = hashAll(ctx, f, m, progress)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, Stamp{}, changedMeanwhile(path)
	}
	if err != nil {
		return nil, Stamp{}, LocalFault(err, "reading", path)
	}
	after, err := stampOf(f)
	if err != nil {
		return nil, Stamp{}, LocalFault(err, "reading", path)
	}
	if !before.same(after) {
		return nil, Stamp{}, changedMeanwhile(path)
	}
	progress(m.Size, m.Size)
	return m, after, nil
}

func changedMeanwhile(path string) error {
	return protocol.Errorf(protocol.CodeSourceChanged, "%s changed while it was read; share it again when nothing writes to it", shown(path))
}

// openRegular opens a file of the user for reading, following symbolic links.
// Anything but a regular file is E_NOT_REGULAR, without waiting for a FIFO.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, LocalFault(err, "opening", path)
	}
	if !info.Mode().IsRegular() {
		return nil, notRegular(path)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, LocalFault(err, "opening", path)
	}
	if info, err = f.Stat(); err != nil {
		err = LocalFault(err, "opening", path)
	} else if !info.Mode().IsRegular() {
		err = notRegular(path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func notRegular(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return protocol.Errorf(protocol.CodeNotRegular, "%s is a folder; only files can be shared, so pack it first, with tar or zip", shown(path))
	}
	return protocol.Errorf(protocol.CodeNotRegular, "%s is not a regular file", shown(path))
}

// block is a chunk of a file on its way through two hashers.
type block struct {
	data [chunk]byte
	n    int
	uses atomic.Int32 // hashers that still need it
}

// pass is one reading of a file: the caller's goroutine reads, one hashes the
// whole, others the pieces. Blocks go round: from stock to both and back.
type pass struct {
	m      *protocol.Manifest // its hashes are filled in
	stock  chan *block
	whole  chan *block
	pieces [pieceHashers]chan *block // piece i goes to i modulo their number
}

// hashAll reads m.Size bytes from r and fills in the hashes.
func hashAll(ctx context.Context, r io.Reader, m *protocol.Manifest, progress func(done, total int64)) error {
	m.Pieces = make([]protocol.PieceHash, protocol.PieceCount(m.Size, m.PieceLength))
	// Every channel has room for all blocks, so that no send blocks.
	p := pass{m: m, stock: make(chan *block, hashBlocks), whole: make(chan *block, hashBlocks)}
	for range min(hashBlocks, m.Size/chunk+2) {
		p.stock <- new(block)
	}
	var running sync.WaitGroup
	running.Go(p.hashWhole)
	for first := range p.pieces {
		p.pieces[first] = make(chan *block, hashBlocks)
		running.Go(func() { p.hashPieces(first) })
	}
	err := p.read(ctx, r, progress)
	close(p.whole)
	for _, in := range p.pieces {
		close(in)
	}
	running.Wait()
	return err
}

// read hands out the chunks of each piece in order.
func (p *pass) read(ctx context.Context, r io.Reader, progress func(done, total int64)) error {
	for i := range p.m.Pieces {
		progress(p.m.PieceOffset(i), p.m.Size)
		for left := p.m.PieceSize(i); left > 0; {
			if err := ctx.Err(); err != nil {
				return err
			}
			b := <-p.stock // the hashers give every block back, whatever happens
			b.n = int(min(left, chunk))
			if _, err := io.ReadFull(r, b.data[:b.n]); err != nil {
				return err
			}
			left -= int64(b.n)
			b.uses.Store(2)
			p.whole <- b
			p.pieces[i%pieceHashers] <- b
		}
	}
	return nil
}

// done gives a block back when both hashers are through with it.
func (p *pass) done(b *block) {
	if b.uses.Add(-1) == 0 {
		p.stock <- b
	}
}

func (p *pass) hashWhole() {
	sum := sha1.New()
	for b := range p.whole {
		_, _ = sum.Write(b.data[:b.n])
		p.done(b)
	}
	sum.Sum(p.m.SHA1[:0])
}

// hashPieces hashes the pieces first, first+pieceHashers, ...
func (p *pass) hashPieces(first int) {
	h, i, left := newPieceHasher(), first, int64(0)
	if i < len(p.m.Pieces) {
		left = p.m.PieceSize(i)
	}
	for b := range p.pieces[first] {
		h.write(b.data[:b.n])
		left -= int64(b.n)
		p.done(b)
		if left > 0 {
			continue
		}
		p.m.Pieces[i] = h.sum()
		h.reset()
		if i += pieceHashers; i < len(p.m.Pieces) {
			left = p.m.PieceSize(i)
		}
	}
}

// pieceHasher takes both hashes of a piece. Not safe for concurrent use.
type pieceHasher struct {
	sha1   hash.Hash
	blake3 *blake3.Hasher
	buf    [chunk]byte // for onDisk
}

func newPieceHasher() *pieceHasher {
	return &pieceHasher{sha1: sha1.New(), blake3: blake3.New()}
}

func (h *pieceHasher) write(b []byte) {
	_, _ = h.sha1.Write(b) // hashes never fail
	_, _ = h.blake3.Write(b)
}

func (h *pieceHasher) sum() (p protocol.PieceHash) {
	h.sha1.Sum(p.SHA1[:0])
	h.blake3.Sum(p.BLAKE3[:0])
	return p
}

func (h *pieceHasher) reset() {
	h.sha1.Reset()
	h.blake3.Reset()
}

// judge compares a piece's hashes with those of the manifest.
func judge(got, want protocol.PieceHash) Verdict {
	switch sha, blake := got.SHA1 == want.SHA1, got.BLAKE3 == want.BLAKE3; {
	case sha && blake:
		return Good
	case sha || blake:
		return Inconsistent
	default:
		return Corrupt
	}
}

// judgeBytes is judge of a piece in memory.
func judgeBytes(data []byte, want protocol.PieceHash) Verdict {
	return judge(protocol.PieceHash{SHA1: sha1.Sum(data), BLAKE3: blake3.Sum256(data)}, want)
}
