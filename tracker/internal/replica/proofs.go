package replica

import (
	"context"
	"sync"
)

// proofs knows whether everything that is on disk here, facts and the manifests that
// they name, is on another tracker's disk too, but for what is being confirmed this moment. What came of another
// tracker is on that one's. So after one comparison of equal roots it stays so,
// until a change of this tracker is not confirmed, or a tracker is lost that may
// have been the one. The zero value knows nothing.
type proofs struct {
	mu     sync.Mutex
	level  bool
	doubts uint64 // how often it was doubted
	open   map[chan struct{}]struct{}
}

// begin notes that a change is about to be in the catalog here alone. The caller
// ends it.
func (p *proofs) begin() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = make(map[chan struct{}]struct{})
	}
	c := make(chan struct{})
	p.open[c] = struct{}{}
	return c
}

// end notes whether a change has come to another disk, or to none. nil is none.
func (p *proofs) end(c chan struct{}, ok bool) {
	if c == nil {
		return
	}
	if !ok {
		p.doubt()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
	close(c)
}

// doubt forgets what was known.
func (p *proofs) doubt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.level = false
	p.doubts++
}

// mark is to be taken before roots are compared that are given to equal.
func (p *proofs) mark() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.doubts
}

// equal notes that a tracker has had the root of this one since mark.
func (p *proofs) equal(mark uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.level = p.level || p.doubts == mark
}

// wait waits for the changes that are being confirmed, and reports whether all
// that was in the catalog when it was called is on another disk; false if ctx or
// closing ends first.
func (p *proofs) wait(ctx context.Context, closing <-chan struct{}) bool {
	p.mu.Lock()
	open := make([]chan struct{}, 0, len(p.open))
	for c := range p.open {
		open = append(open, c)
	}
	p.mu.Unlock()
	for _, c := range open {
		select {
		case <-c:
		case <-ctx.Done():
			return false
		case <-closing:
			return false
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.level
}
