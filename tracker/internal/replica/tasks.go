package replica

import "sync"

// tasks counts what runs in the background, so that Close can wait for it.
type tasks struct {
	wg sync.WaitGroup

	mu     sync.Mutex
	closed bool
}

// begin admits one more, unless closing has begun; end must follow.
func (t *tasks) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.wg.Add(1)
	return true
}

func (t *tasks) end() { t.wg.Done() }

// run starts f in a goroutine, unless closing has begun.
func (t *tasks) run(f func()) {
	if !t.begin() {
		return
	}
	go func() {
		defer t.end()
		f()
	}()
}

// close admits no more; it reports whether it was the first to do so.
func (t *tasks) close() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := !t.closed
	t.closed = true
	return first
}

func (t *tasks) wait() { t.wg.Wait() }
