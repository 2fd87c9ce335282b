package sim

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"
)

// stream is one side of a stream.
type stream struct {
	network.Stream // what nobody calls
	at             *end
	proto          p2pproto.ID
	in, out        *pipe

	mu   sync.Mutex
	done bool
}

func (s *stream) Conn() network.Conn                { return s.at }
func (s *stream) Protocol() p2pproto.ID             { return s.proto }
func (s *stream) SetProtocol(p p2pproto.ID) error   { s.proto = p; return nil }
func (s *stream) Stat() network.Stats               { return network.Stats{Direction: s.at.dir} }
func (s *stream) Scope() network.StreamScope        { return &network.NullScope{} }
func (s *stream) Read(b []byte) (int, error)        { return s.in.read(b) }
func (s *stream) Write(b []byte) (int, error)       { return s.out.write(b) }
func (s *stream) SetReadDeadline(t time.Time) error { s.in.setDeadline(t); return nil }
func (s *stream) SetWriteDeadline(time.Time) error  { return nil } // a write never waits
func (s *stream) SetDeadline(t time.Time) error     { return s.SetReadDeadline(t) }
func (s *stream) CloseWrite() error                 { s.out.send(chunk{err: io.EOF}); return nil }

func (s *stream) Close() error {
	s.out.send(chunk{err: io.EOF})
	s.in.abort(network.ErrReset)
	s.leave()
	return nil
}

func (s *stream) CloseRead() error { s.in.abort(network.ErrReset); return nil }

func (s *stream) Reset() error {
	s.out.send(chunk{err: network.ErrReset})
	s.in.abort(network.ErrReset)
	s.leave()
	return nil
}

func (s *stream) leave() {
	s.mu.Lock()
	first := !s.done
	s.done = true
	s.mu.Unlock()
	if first {
		s.at.forget(s)
	}
}

// chunk is bytes under way, or the end of them.
type chunk struct {
	data []byte
	err  error
	at   time.Time // of arrival; zero: it lies before a cut
}

// pipe is one direction of a stream. It has no bound: what is written is small.
type pipe struct {
	over *cable
	tap  func([]byte)       // is told of what is written; nil: nobody
	door func([]byte) error // is asked first; nil: it is open

	mu       sync.Mutex
	chunks   []chunk
	closed   bool  // nothing follows
	aborted  error // at the reading side
	deadline time.Time
	changed  chan struct{} // closed and made anew at each change
}

func newPipe(over *cable) *pipe { return &pipe{over: over, changed: make(chan struct{})} }

// wake is called with the lock held.
func (p *pipe) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *pipe) write(b []byte) (int, error) {
	if p.door != nil {
		if err := p.door(b); errors.Is(err, errLost) {
			return len(b), nil
		} else if err != nil {
			return 0, err
		}
	}
	if !p.send(chunk{data: append([]byte{}, b...)}) {
		return 0, network.ErrReset
	}
	if p.tap != nil {
		p.tap(b)
	}
	return len(b), nil
}

// send puts a chunk on its way; false if nothing may follow any more.
func (p *pipe) send(c chunk) bool {
	delay, cut, _ := p.over.state()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.aborted != nil {
		return false
	}
	if !cut {
		c.at = time.Now().Add(delay)
	}
	p.closed = c.err != nil
	p.chunks = append(p.chunks, c)
	p.wake()
	return true
}

// abort ends the reading side at once.
func (p *pipe) abort(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.aborted == nil {
		p.aborted, p.chunks = err, nil
		p.wake()
	}
}

func (p *pipe) setDeadline(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	p.wake()
}

func (p *pipe) read(b []byte) (int, error) {
	for {
		wait, n, err := p.take(b)
		if wait == nil {
			return n, err
		}
		wait()
	}
}

// arrive waits until something can be read; false if the stream ended first.
func (p *pipe) arrive() bool {
	for {
		wait, n, err := p.take(nil)
		if wait == nil {
			return n == 0 && err == nil
		}
		wait()
	}
}

// take reads what has arrived, or tells how to wait for it. An empty b takes nothing.
func (p *pipe) take(b []byte) (wait func(), n int, err error) {
	delay, cut, change := p.over.state()
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.aborted != nil {
		return nil, 0, p.aborted
	}
	if !p.deadline.IsZero() && !now.Before(p.deadline) {
		return nil, 0, os.ErrDeadlineExceeded
	}
	until := p.deadline
	if len(p.chunks) > 0 {
		c := &p.chunks[0]
		if c.at.IsZero() && !cut {
			c.at = now.Add(delay)
		}
		switch {
		case c.at.IsZero():
		case c.at.After(now):
			if until.IsZero() || c.at.Before(until) {
				until = c.at
			}
		case b == nil:
			return nil, 0, nil
		case c.err != nil:
			return nil, 0, c.err
		default:
			n = copy(b, c.data)
			if c.data = c.data[n:]; len(c.data) == 0 {
				p.chunks = p.chunks[1:]
			}
			return nil, n, nil
		}
	}
	changed := p.changed
	return func() {
		var timeout <-chan time.Time
		if !until.IsZero() {
			t := time.NewTimer(until.Sub(now))
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-changed:
		case <-change:
		case <-timeout:
		}
	}, 0, nil
}
