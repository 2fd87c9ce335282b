package piece

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

func TestBuffers(t *testing.T) {
	var pool Buffers
	for length := int64(protocol.MinPieceLength); length <= protocol.MaxPieceLength; length *= 2 {
		b := pool.get(nil, protocol.FileID{}, length, length-1)
		if int64(len(b.B)) != length-1 || b.from != &pool {
			t.Errorf("piece length %d: a buffer of %d bytes, from the pool: %v", length, len(b.B), b.from == &pool)
		}
		b.Release()
		again := pool.get(nil, protocol.FileID{}, length, length)
		b.Release() // by mistake: it must not take again's bytes
		if third := pool.get(nil, protocol.FileID{}, length, length); &third.B[0] == &again.B[0] {
			t.Errorf("piece length %d: one buffer for two", length)
		}
	}
	(&Buffer{B: []byte{1}}).Release() // has no pool
}

// Who finds the pool empty waits in turn, until a buffer comes back or the
// stream ends; one buffer there always is.
func TestBuffersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = protocol.PieceLength
		pool := NewBuffers(2*n + n/2)
		held := []*Buffer{pool.get(nil, protocol.FileID{1}, n, n), pool.get(nil, protocol.FileID{2}, n, n)}
		got := make(chan *Buffer, 2)
		go func() { got <- pool.get(nil, protocol.FileID{3}, n, n) }()
		synctest.Wait()
		ended := make(chan struct{})
		gone := make(chan *Buffer, 1)
		go func() { gone <- pool.get(ended, protocol.FileID{4}, n, n) }()
		synctest.Wait()
		go func() { got <- pool.get(nil, protocol.FileID{5}, n, n/2) }() // would fit, but it is not its turn
		synctest.Wait()
		if len(got)+len(gone) > 0 {
			t.Fatal("more than the limit was handed out")
		}
		close(ended)
		if b := <-gone; b != nil {
			t.Error("a stream that has ended got a buffer")
		}
		held[0].Release()
		synctest.Wait()
		if len(got) != 2 || pool.used != 2*n+n/2 {
			t.Errorf("%d buffers handed out, %d bytes in use", len(got), pool.used)
		}
		held[1].Release()
		(<-got).Release()
		(<-got).Release()
		if pool.used != 0 || len(pool.waiting) != 0 {
			t.Errorf("%d bytes in use at the end, %d waiting", pool.used, len(pool.waiting))
		}
		large := pool.get(nil, protocol.FileID{6}, 8*n, 8*n)
		if int64(len(large.B)) != 8*n {
			t.Error("no buffer for a piece above the limit")
		}
		large.Release()
	})
}

// One download has never all of the pool, and while it has its part those of
// others pass it.
func TestBuffersOfOneFileAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = protocol.MaxPieceLength
		greedy, other := protocol.FileID{1}, protocol.FileID{2}
		pool := NewBuffers(2 * n)
		first := pool.get(nil, greedy, n, n)
		second := make(chan *Buffer, 1)
		go func() { second <- pool.get(nil, greedy, n, n) }()
		synctest.Wait()
		if len(second) > 0 {
			t.Fatal("one file has the whole pool")
		}
		for range 3 { // would wait for ever
			pool.get(nil, other, protocol.PieceLength, protocol.PieceLength).Release()
		}
		first.Release()
		(<-second).Release()
		if pool.used != 0 || len(pool.byFile) != 0 || len(pool.waiting) != 0 {
			t.Errorf("%d bytes in use at the end by %d files, %d waiting", pool.used, len(pool.byFile), len(pool.waiting))
		}
	})
}

// A forfeited buffer counts no more, whoever has it, and does not come back.
func TestForfeitedBuffer(t *testing.T) {
	const n = protocol.PieceLength
	pool := NewBuffers(n)
	b := pool.get(nil, protocol.FileID{1}, n, n)
	kept := &b.B[0]
	b.Forfeit()
	b.Forfeit()
	other := pool.get(nil, protocol.FileID{1}, n, n) // would wait for ever
	if &b.B[0] != kept || &other.B[0] == kept || pool.used != n {
		t.Errorf("one buffer for two, or %d bytes in use, want %d", pool.used, n)
	}
	b.Release()
	if pool.used != n || len(pool.byFile) != 1 {
		t.Errorf("%d bytes in use by %d files after the release", pool.used, len(pool.byFile))
	}
	other.Release()
	other.Forfeit()
	if pool.used != 0 || len(pool.byFile) != 0 {
		t.Errorf("%d bytes in use by %d files at the end", pool.used, len(pool.byFile))
	}
	(&Buffer{B: []byte{1}}).Forfeit() // has no pool
}

// The buffer given back last goes out first; what is kept for that is let go of
// when pieces of another length need room, and when no piece is under way.
func TestBuffersAreUsedAgain(t *testing.T) {
	const n = protocol.PieceLength
	pool, file := NewBuffers(0), protocol.FileID{1}
	get := func(length int64) *Buffer { return pool.get(nil, file, length, length) }
	kept := func() (buffers int) {
		for _, free := range pool.free {
			buffers += len(free)
			for _, gone := range free[len(free):cap(free)] {
				if gone != nil {
					t.Error("a buffer that is not kept is reachable")
				}
			}
		}
		return buffers
	}
	a, b, c := get(n), get(n), get(n)
	last := &b.B[0]
	a.Release()
	b.Release()
	if kept() != 2 {
		t.Errorf("%d buffers kept, want 2", kept())
	}
	if b = get(n); &b.B[0] != last {
		t.Error("not the buffer that came back last")
	}
	long := get(2 * n)
	if kept() != 0 || len(long.B) != 2*n {
		t.Errorf("%d buffers kept beside one of %d bytes, want none beside %d", kept(), len(long.B), 2*n)
	}
	long.Release()
	b.Release()
	if kept() != 2 {
		t.Errorf("%d buffers kept, want 2", kept())
	}
	c.Release()
	if kept() != 0 || pool.used != 0 {
		t.Errorf("%d buffers kept and %d bytes in use at the end", kept(), pool.used)
	}
}

func TestNews(t *testing.T) {
	woken := 0
	n := newNews(11, func() { woken++ })
	n.add(3) // between subscribing and asking what there is
	if b := n.begin(false, []byte{0x81, 0x20}); b.GetComplete() || !bytes.Equal(b.GetBits(), []byte{0x91, 0x20}) {
		t.Fatalf("bitfield %v, want pieces 0, 3, 7 and 10", b)
	}
	for _, i := range []int{3, 7, 1, 1, -1, 11, 9} {
		n.add(i)
	}
	if got := n.take(1); len(got) != 1 || got[0] != 1 {
		t.Errorf("news %v, want piece 1", got)
	}
	if got := n.take(10); len(got) != 1 || got[0] != 9 {
		t.Errorf("news %v, want piece 9", got)
	}
	if !n.has(9) || n.has(2) {
		t.Error("it forgot piece 9 or invented piece 2")
	}
	whole := newNews(3, func() {})
	whole.add(1)
	if b := whole.begin(true, nil); !b.GetComplete() || len(b.GetBits()) > 0 || !whole.has(2) {
		t.Errorf("bitfield %v, want complete", b)
	}
	whole.add(2)
	if got := whole.take(10); len(got) > 0 {
		t.Errorf("news %v of a complete file", got)
	}
}

func TestPace(t *testing.T) {
	start := time.Unix(0, 0)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	tests := []struct {
		name string
		do   func(p *pace)
		at   float64
		late bool
	}{
		{name: "nothing due", do: func(*pace) {}, at: 1000},
		{name: "just in time", do: func(p *pace) { p.begin(at(0), true) }, at: 10},
		{name: "silence", do: func(p *pace) { p.begin(at(0), true) }, at: 10.1, late: true},
		{name: "paused", do: func(p *pace) { p.begin(at(0), true); p.pause() }, at: 1000},
		{name: "resumed", do: func(p *pace) { p.begin(at(0), true); p.pause(); p.resume(at(990)) }, at: 999},
		{name: "fast enough", at: 25, do: func(p *pace) {
			p.begin(at(0), true)
			for s := range 25 {
				p.moved(at(float64(s+1)), 17<<10)
			}
		}},
		{name: "too slow", at: 21, late: true, do: func(p *pace) {
			p.begin(at(0), true)
			for s := range 21 {
				p.moved(at(float64(s+1)), 15<<10)
			}
		}},
		{name: "slow for other reasons", at: 40, do: func(p *pace) {
			p.begin(at(0), true)
			for s := range 20 {
				p.moved(at(float64(2*s)+0.5), 15<<10)
				p.pause()
				p.resume(at(float64(2*s + 2)))
			}
		}},
		{name: "no rate outside pieces", at: 60, do: func(p *pace) {
			p.begin(at(0), false)
			for s := range 10 {
				p.moved(at(float64(6*s+6)), 1)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &pace{limits: timing{}.orDefaults()}
			tt.do(p)
			if err := p.check(at(tt.at), 0); errors.Is(err, ErrLate) != tt.late {
				t.Errorf("check: %v, want late %v", err, tt.late)
			}
		})
	}
}
