package piece_test

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/piece"
)

// pipe is both ends of a stream in memory.
func pipe() (a, b *pipeEnd) {
	x, y := net.Pipe()
	return &pipeEnd{x}, &pipeEnd{y}
}

type pipeEnd struct{ net.Conn }

func (p *pipeEnd) Reset() error { return p.Close() }

// scripted is a stream from which fixed bytes are read; what is written is kept.
type scripted struct {
	in []byte

	mu    sync.Mutex
	out   []byte
	reset bool
}

func (s *scripted) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.in) == 0 || s.reset {
		return 0, io.EOF
	}
	n := copy(p, s.in)
	s.in = s.in[n:]
	return n, nil
}

func (s *scripted) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reset {
		return 0, io.ErrClosedPipe
	}
	s.out = append(s.out, p...)
	return len(p), nil
}

func (s *scripted) SetReadDeadline(time.Time) error { return nil }
func (s *scripted) Close() error                    { return nil }

func (s *scripted) Reset() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reset = true
	return nil
}

func (s *scripted) written() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.out)
}

// gated lets nothing be read before start is closed.
type gated struct {
	scripted
	start chan struct{}
}

func (g *gated) Read(p []byte) (int, error) {
	<-g.start
	return g.scripted.Read(p)
}

func drain(end *pipeEnd) {
	buf := make([]byte, 4<<10)
	for {
		if _, err := end.Read(buf); err != nil {
			return
		}
	}
}

// hears is what happens to a leecher that asks for pieces of f and hears what
// was sent.
func hears(t *testing.T, f *file, sent []byte, asks ...int) *events {
	t.Helper()
	ours, theirs := pipe()
	var running sync.WaitGroup
	e := newEvents()
	c := piece.Start(ours, fetching(f, e.put))
	t.Cleanup(func() {
		c.Close()
		_ = theirs.Close()
		running.Wait()
	})
	for _, i := range asks {
		c.Request(i)
	}
	running.Go(func() { _, _ = theirs.Write(sent) })
	running.Go(func() { drain(theirs) })
	return e
}
