package piece

import (
	"math/bits"
	"slices"
	"sync"

	"github.com/p2pshare/p2pshare/protocol"
)

// Buffer holds the bytes of one piece, from a pool.
type Buffer struct {
	B []byte

	full *[]byte
	from *Buffers
}

// Release gives the buffer back; the caller must not touch B afterwards. A
// second Release, and that of a Buffer without a pool, does nothing.
func (b *Buffer) Release() {
	n := int64(len(b.B))
	b.B = nil
	if b.from != nil {
		if pool := b.from.pool(int64(len(*b.full))); pool != nil {
			pool.Put(b.full)
		}
		b.from.give(n)
		b.from, b.full = nil, nil
	}
}

// Buffers is a pool for the pieces of all streams that share it. Its zero
// value is ready and has no bound; it is safe for concurrent use.
type Buffers struct {
	// byLength has one pool for each allowed piece length, 512 KiB to 16 MiB.
	byLength [6]sync.Pool
	limit    int64 // of used; zero for none

	mu      sync.Mutex
	used    int64 // bytes not given back
	waiting []*claim
}

// claim waits in turn for bytes.
type claim struct {
	n       int64
	granted chan struct{} // closed when it has them
}

// NewBuffers returns a pool that hands out at most limit bytes at a time, or
// one buffer. Streams that find it empty wait in turn, and read nothing
// meanwhile: this, and not what was asked for, bounds the memory of many
// downloads at once.
func NewBuffers(limit int64) *Buffers { return &Buffers{limit: limit} }

// get returns a buffer for the first n bytes of a piece of pieceLength, nil if
// ended was closed first.
func (p *Buffers) get(ended <-chan struct{}, pieceLength, n int64) *Buffer {
	if !p.take(ended, n) {
		return nil
	}
	pool := p.pool(pieceLength)
	if pool == nil {
		b := make([]byte, n)
		return &Buffer{B: b, full: &b, from: p}
	}
	full, ok := pool.Get().(*[]byte)
	if !ok {
		b := make([]byte, pieceLength)
		full = &b
	}
	return &Buffer{B: (*full)[:n], full: full, from: p}
}

// pool returns the one of a piece length, nil for a length that is not allowed.
func (p *Buffers) pool(pieceLength int64) *sync.Pool {
	class := bits.Len64(uint64(pieceLength)/protocol.PieceLength) - 1
	if class < 0 || class >= len(p.byLength) || pieceLength != protocol.PieceLength<<class {
		return nil
	}
	return &p.byLength[class]
}

// take waits for n bytes; false if ended was closed first.
func (p *Buffers) take(ended <-chan struct{}, n int64) bool {
	p.mu.Lock()
	if len(p.waiting) == 0 && p.fits(n) {
		p.used += n
		p.mu.Unlock()
		return true
	}
	c := &claim{n: n, granted: make(chan struct{})}
	p.waiting = append(p.waiting, c)
	p.mu.Unlock()
	select {
	case <-c.granted:
		return true
	case <-ended:
	}
	p.mu.Lock()
	if i := slices.Index(p.waiting, c); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		p.grant() // a smaller one behind it may fit
		p.mu.Unlock()
		return false
	}
	p.mu.Unlock()
	p.give(n) // granted at the same time
	return false
}

// fits reports whether n more bytes may be handed out. mu is held.
func (p *Buffers) fits(n int64) bool { return p.limit == 0 || p.used == 0 || p.used+n <= p.limit }

// give takes n bytes back.
func (p *Buffers) give(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used -= n
	p.grant()
}

// grant serves those who wait, in order. mu is held; closing never blocks.
func (p *Buffers) grant() {
	for len(p.waiting) > 0 && p.fits(p.waiting[0].n) {
		p.used += p.waiting[0].n
		close(p.waiting[0].granted)
		p.waiting = p.waiting[1:]
	}
}
