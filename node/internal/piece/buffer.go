package piece

import (
	"math/bits"
	"sync"

	"github.com/p2pshare/p2pshare/protocol"
)

// Buffer holds the bytes of one piece, from a pool.
type Buffer struct {
	B []byte

	full *[]byte
	home *sync.Pool
}

// Release gives the buffer back; the caller must not touch B afterwards. A
// second Release, and that of a Buffer without a pool, does nothing.
func (b *Buffer) Release() {
	b.B = nil
	if b.home != nil {
		b.home.Put(b.full)
		b.home, b.full = nil, nil
	}
}

// Buffers is a pool for the pieces of all streams that share it. Its zero
// value is ready; it is safe for concurrent use.
type Buffers struct {
	// byLength has one pool for each allowed piece length, 512 KiB to 16 MiB.
	byLength [6]sync.Pool
}

// get returns a buffer for the first n bytes of a piece of pieceLength.
func (p *Buffers) get(pieceLength, n int64) *Buffer {
	class := bits.Len64(uint64(pieceLength)/protocol.PieceLength) - 1
	if class < 0 || class >= len(p.byLength) {
		return &Buffer{B: make([]byte, n)}
	}
	pool := &p.byLength[class]
	full, ok := pool.Get().(*[]byte)
	if !ok {
		b := make([]byte, pieceLength)
		full = &b
	}
	return &Buffer{B: (*full)[:n], full: full, home: pool}
}
