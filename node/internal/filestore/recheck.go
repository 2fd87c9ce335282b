package filestore

import (
	"context"
	"crypto/sha1"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/p2pshare/p2pshare/protocol"
)

// recheck hashes pieces as they are on disk, on all processors, and returns
// which of them are good; found is told the bytes of each, from several
// goroutines. A piece that cannot be read is not good. The error is the
// context's alone.
func recheck(ctx context.Context, r io.ReaderAt, m *protocol.Manifest, pieces []int, found func(bytes int64)) (good bitfield, err error) {
	good = newBitfield(len(m.Pieces))
	var mu sync.Mutex // guards good
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(pieces)) {
		workers.Go(func() {
			h := newPieceHasher()
			for ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if n >= len(pieces) {
					return
				}
				i := pieces[n]
				hash, err := h.onDisk(r, m, i)
				if err != nil {
					log.Errorw("a piece cannot be read back", "file", protocol.Printable(m.Name), "piece", i, "err", err)
					continue
				}
				if judge(hash, m.Pieces[i]) == Good {
					mu.Lock()
					good.set(i)
					mu.Unlock()
					found(m.PieceSize(i))
				}
			}
		})
	}
	workers.Wait()
	return good, ctx.Err()
}

// onDisk hashes piece i as it is in r.
func (h *pieceHasher) onDisk(r io.ReaderAt, m *protocol.Manifest, i int) (protocol.PieceHash, error) {
	h.reset()
	off, left := m.PieceOffset(i), m.PieceSize(i)
	for left > 0 {
		part := h.buf[:min(left, chunk)]
		if _, err := r.ReadAt(part, off); err != nil {
			return protocol.PieceHash{}, err
		}
		h.write(part)
		off += int64(len(part))
		left -= int64(len(part))
	}
	return h.sum(), nil
}

// wholeSHA1 reads size bytes as they are on disk.
func wholeSHA1(ctx context.Context, r io.ReaderAt, size int64) (sum protocol.SHA1, err error) {
	h, buf := sha1.New(), make([]byte, chunk)
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		part := buf[:min(size-off, chunk)]
		if _, err := r.ReadAt(part, off); err != nil {
			return sum, err
		}
		_, _ = h.Write(part)
		off += int64(len(part))
	}
	h.Sum(sum[:0])
	return sum, nil
}

// allPieces lists every piece.
func allPieces(m *protocol.Manifest) []int {
	pieces := make([]int, len(m.Pieces))
	for i := range pieces {
		pieces[i] = i
	}
	return pieces
}
