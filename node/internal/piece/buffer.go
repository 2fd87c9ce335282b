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

	from *Buffers        // nil without a pool
	file protocol.FileID // of which it holds a piece

	// These are guarded by the lock of the pool.
	full   *[]byte // nil when it was given back
	counts int64   // bytes that the pool counts for it
}

// Release gives the buffer back; the caller must not touch B afterwards. A
// second Release, and that of a Buffer without a pool, does nothing.
func (b *Buffer) Release() {
	b.B = nil
	if b.from != nil {
		b.from.giveBack(b)
	}
}

// Forfeit lets others have the bytes that the pool counts for a buffer which may
// be kept for long. Whoever has the buffer goes on using it, and may release it
// at the same time; it does not come back to the pool. Repeating it is harmless.
func (b *Buffer) Forfeit() {
	if b.from == nil {
		return
	}
	b.from.mu.Lock()
	defer b.from.mu.Unlock()
	if b.counts > 0 {
		b.from.uncount(b.file, b.counts)
		b.counts = 0
	}
}

// lengths is how many piece lengths are allowed: 128 KiB to 16 MiB.
const lengths = 8

// Buffers is a pool for the pieces of all streams that share it. Its zero
// value is ready and has no bound; it is safe for concurrent use.
type Buffers struct {
	// idle has what is not needed now, by length, for the garbage collector to
	// take in the end.
	idle  [lengths]sync.Pool
	limit int64 // of used; zero for none

	mu sync.Mutex
	// free has what was given back while others are in use, the last one on top,
	// which the caches of the processor still know.
	free    [lengths][]*[]byte
	used    int64                     // bytes not given back
	byFile  map[protocol.FileID]int64 // the same, of each file that has some
	waiting []*claim
}

// claim waits in turn for bytes.
type claim struct {
	file    protocol.FileID
	n       int64
	granted chan struct{} // closed when it has them
}

// NewBuffers returns a pool that hands out at most limit bytes at a time, or
// one buffer, and three quarters of it to one file: however long the pieces of
// that one and however slow its peers, two of the longest are never the whole
// of 32 MiB. Streams that find it empty wait in turn, and read nothing
// meanwhile: this, and not what was asked for, bounds the memory of many
// downloads at once.
func NewBuffers(limit int64) *Buffers { return &Buffers{limit: limit} }

// get returns a buffer for the first n bytes of a piece of a file with pieces
// of pieceLength, nil if ended was closed first.
func (p *Buffers) get(ended <-chan struct{}, file protocol.FileID, pieceLength, n int64) *Buffer {
	if !p.take(ended, file, n) {
		return nil
	}
	full := p.find(pieceLength)
	if full == nil {
		b := make([]byte, pieceLength)
		full = &b
	}
	return &Buffer{B: (*full)[:n], from: p, file: file, full: full, counts: n}
}

// class returns which of the allowed lengths a buffer has; ok is false for none.
func class(length int64) (class int, ok bool) {
	class = bits.Len64(uint64(length)/protocol.MinPieceLength) - 1
	return class, class >= 0 && class < lengths && length == protocol.MinPieceLength<<class
}

// find returns a buffer that was given back, nil if there is none. Then those of
// other lengths are idle, so that no more is kept than what may be in use.
func (p *Buffers) find(length int64) *[]byte {
	i, ok := class(length)
	if !ok {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.free[i]) - 1; last >= 0 {
		full := p.free[i][last]
		p.free[i][last] = nil // or it is reachable when it is idle later
		p.free[i] = p.free[i][:last]
		return full
	}
	p.rest()
	full, _ := p.idle[i].Get().(*[]byte)
	return full
}

// rest makes all of free idle. mu is held.
func (p *Buffers) rest() {
	for i, free := range p.free {
		for _, full := range free {
			p.idle[i].Put(full)
		}
		clear(free)
		p.free[i] = free[:0]
	}
}

// take waits for n bytes; false if ended was closed first.
func (p *Buffers) take(ended <-chan struct{}, file protocol.FileID, n int64) bool {
	c := &claim{file: file, n: n, granted: make(chan struct{})}
	p.mu.Lock()
	p.waiting = append(p.waiting, c)
	p.grant()
	p.mu.Unlock()
	select {
	case <-c.granted:
		return true
	default:
	}
	select {
	case <-c.granted:
		return true
	case <-ended:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, c); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		p.grant() // a smaller one behind it may fit
	} else {
		p.uncount(file, n) // granted at the same time
	}
	return false
}

// giveBack takes a buffer back, unless it was forfeited or given back before.
func (p *Buffers) giveBack(b *Buffer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	full, n := b.full, b.counts
	b.full, b.counts = nil, 0
	if n == 0 {
		return
	}
	if i, ok := class(int64(len(*full))); ok {
		p.free[i] = append(p.free[i], full)
	}
	p.uncount(b.file, n)
}

// uncount lets others have n bytes that a file has. mu is held.
func (p *Buffers) uncount(file protocol.FileID, n int64) {
	if p.used -= n; p.used == 0 {
		p.rest()
	}
	if p.byFile[file] -= n; p.byFile[file] == 0 {
		delete(p.byFile, file)
	}
	p.grant()
}

// grant serves those who wait, in order, but for those whose file has its
// part: they let others pass. mu is held; closing never blocks.
func (p *Buffers) grant() {
	if p.byFile == nil {
		p.byFile = map[protocol.FileID]int64{}
	}
	left := p.waiting[:0]
	full := false // somebody waits for the whole pool: nobody passes
	for _, c := range p.waiting {
		held := p.byFile[c.file]
		partLeft := p.limit == 0 || held == 0 || held+c.n <= p.limit/4*3
		full = full || partLeft && p.limit != 0 && p.used != 0 && p.used+c.n > p.limit
		if full || !partLeft {
			left = append(left, c)
			continue
		}
		p.used += c.n
		p.byFile[c.file] += c.n
		close(c.granted)
	}
	clear(p.waiting[len(left):])
	p.waiting = left
}
