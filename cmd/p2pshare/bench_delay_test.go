package main_test

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

const (
	// delayChunk is what the proxy reads at once, delayQueued how many of those
	// are under way: 64 MiB, more than 50 ms of what loopback carries.
	delayChunk  = 64 << 10
	delayQueued = 1024
)

// delayer is a TCP proxy that hands on every byte a while after it came,
// however many come: a long wire without a bottleneck.
type delayer struct {
	listener net.Listener
	target   string
	delay    time.Duration // each way
	running  sync.WaitGroup

	mu    sync.Mutex
	seen  []passed
	conns []net.Conn
}

// passed counts the bytes to whoever dialed, of all connections, up to a moment.
type passed struct {
	at    time.Time
	bytes int64
}

func newDelayer(b *testing.B, delay time.Duration) *delayer {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	d := &delayer{listener: l, delay: delay}
	b.Cleanup(func() {
		_ = l.Close()
		d.mu.Lock()
		for _, c := range d.conns {
			_ = c.Close()
		}
		d.mu.Unlock()
		d.running.Wait()
	})
	return d
}

// serve begins to hand connections on to target. It is called once.
func (d *delayer) serve(target string) {
	d.target = target
	d.running.Go(func() {
		for {
			c, err := d.listener.Accept()
			if err != nil {
				return
			}
			d.running.Go(func() { d.join(c) })
		}
	})
}

func (d *delayer) join(near net.Conn) {
	far, err := net.Dial("tcp", d.target)
	if err != nil {
		_ = near.Close()
		return
	}
	d.mu.Lock()
	d.conns = append(d.conns, near, far)
	d.mu.Unlock()
	d.running.Go(func() { d.carry(far, near, func(int) {}) })
	d.carry(near, far, d.count)
}

type delayed struct {
	due  time.Time
	data []byte
}

// carry copies from one side to the other until either ends, then ends both.
func (d *delayer) carry(to, from net.Conn, count func(n int)) {
	queue := make(chan delayed, delayQueued)
	d.running.Go(func() {
		defer close(queue)
		for {
			buf := make([]byte, delayChunk)
			n, err := from.Read(buf)
			if n > 0 {
				queue <- delayed{time.Now().Add(d.delay), buf[:n]}
			}
			if err != nil {
				return
			}
		}
	})
	var err error
	for p := range queue {
		if err != nil {
			continue // the reader must not be left waiting
		}
		time.Sleep(time.Until(p.due))
		if _, err = to.Write(p.data); err != nil {
			err = errors.Join(err, from.Close())
		}
		count(len(p.data))
	}
	_ = to.Close()
}

func (d *delayer) count(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var before int64
	if len(d.seen) > 0 {
		before = d.seen[len(d.seen)-1].bytes
	}
	d.seen = append(d.seen, passed{time.Now(), before + int64(n)})
}

// rateAfter returns the bytes per second from a while after the first byte of
// the file to its last: the last size bytes that passed are the file's.
func (d *delayer) rateAfter(while time.Duration, size int64) float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.seen) == 0 {
		return 0
	}
	last := d.seen[len(d.seen)-1]
	var start time.Time
	for _, p := range d.seen {
		if start.IsZero() && p.bytes > last.bytes-size {
			start = p.at
		}
		if !start.IsZero() && p.at.Sub(start) >= while {
			return float64(last.bytes-p.bytes) / last.at.Sub(p.at).Seconds()
		}
	}
	return 0
}

// reset forgets what has passed.
func (d *delayer) reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = nil
}
