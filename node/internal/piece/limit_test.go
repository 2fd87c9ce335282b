package piece_test

import (
	"bytes"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/protocol"
)

// gauge notes what moves when.
type gauge struct {
	mu    sync.Mutex
	at    []time.Time
	bytes []int
}

func (g *gauge) moved(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.at, g.bytes = append(g.at, time.Now()), append(g.bytes, n)
}

func (g *gauge) reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.at, g.bytes = nil, nil
}

// burst returns by how many bytes any stretch of time had more than the rate allows.
func (g *gauge) burst(rate int64) (most float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	sum, low := 0.0, math.Inf(1)
	for i, n := range g.bytes {
		allowed := g.at[i].Sub(g.at[0]).Seconds() * float64(rate)
		low = min(low, sum-allowed)
		sum += float64(n)
		most = max(most, sum-allowed-low)
	}
	return most
}

// gauged is an end of a stream of which is noted what it reads or writes.
type gauged struct {
	*pipeEnd
	read, wrote *gauge // nil for not
}

func (g gauged) Read(p []byte) (int, error) {
	n, err := g.pipeEnd.Read(p)
	if g.read != nil {
		g.read.moved(n)
	}
	return n, err
}

func (g gauged) Write(p []byte) (int, error) {
	if g.wrote != nil {
		g.wrote.moved(len(p))
	}
	return g.pipeEnd.Write(p)
}

// fetchLimited fetches the file by so many streams at once, in simulated time,
// and returns how long that took and what moved at either end.
func fetchLimited(t *testing.T, f *file, streams int, up, down *piece.Limit) (took time.Duration, sent, got *gauge) {
	t.Helper()
	cfg := serving(f)
	cfg.Limit = up
	s := piece.NewBareServer(cfg)
	var conns []*piece.Conn
	var events []*eventsOf
	began := time.Now()
	sent, got = new(gauge), new(gauge)
	for range streams {
		ours, theirs := pipe()
		go s.Serve(gauged{theirs, nil, sent}, "leecher")
		e := &eventsOf{newEvents()}
		cfg := fetching(f, e.put)
		cfg.Limit = down
		c := piece.Start(gauged{ours, got, nil}, cfg)
		want[piece.Bitfield](t, e.events)
		conns, events = append(conns, c), append(events, e)
	}
	sent.reset() // what is said before any piece is asked for is not limited
	got.reset()
	pieces := len(f.manifest.Pieces)
	for i, c := range conns {
		for at := i; at < pieces; at += streams {
			c.Request(at)
		}
	}
	for i, e := range events {
		for range (pieces - i + streams - 1) / streams {
			e.piece(t, f)
		}
	}
	took = time.Since(began)
	for i, c := range conns {
		c.Close()
		if err := events[i].closed(t); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return took, sent, got
}

type eventsOf struct{ *events }

// piece waits, for as long as it takes, for a piece of f.
func (e *eventsOf) piece(t *testing.T, f *file) {
	t.Helper()
	switch ev := (<-e.ch).(type) {
	case piece.Received:
		if !bytes.Equal(ev.Data.B, f.piece(ev.Piece)) {
			t.Errorf("piece %d arrived altered", ev.Piece)
		}
		ev.Data.Release()
	case piece.Closed:
		t.Fatalf("the stream ended: %v", ev.Err)
	case piece.Bitfield, piece.Have, piece.Begun, piece.Dropped:
		t.Fatalf("event %#v", ev)
	}
}

func TestLimits(t *testing.T) {
	const size = 8 * protocol.PieceLength
	tests := []struct {
		name     string
		streams  int
		up, down int64
		want     int64 // bytes per second
	}{
		{name: "upload", streams: 1, up: 1 << 20, want: 1 << 20},
		{name: "upload, several streams", streams: 4, up: 1 << 20, want: 1 << 20},
		{name: "lowest upload", streams: 4, up: piece.MinLimit, want: piece.MinLimit},
		{name: "download", streams: 1, down: 2 << 20, want: 2 << 20},
		{name: "download, several streams", streams: 4, down: 2 << 20, want: 2 << 20},
		{name: "lowest download", streams: 2, down: piece.MinLimit, want: piece.MinLimit},
		{name: "both", streams: 2, up: 512 << 10, down: 2 << 20, want: 512 << 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limit := func(rate int64) *piece.Limit {
					if rate == 0 {
						return nil
					}
					return piece.NewLimit(rate)
				}
				took, sent, got := fetchLimited(t, newFile(size), tt.streams, limit(tt.up), limit(tt.down))
				// What may move at once, 64 KiB, comes for nothing.
				least := time.Duration(float64(size-64<<10) / float64(tt.want) * float64(time.Second))
				if took < least-time.Millisecond || took > least+least/20 {
					t.Errorf("%d bytes at %d B/s took %v, want %v and 5 %% more at most", size, tt.want, took, least)
				}
				// No stretch of time, however short, has more than 64 KiB beyond the
				// rate, but for headers and the 256 bytes that a stream reads ahead.
				for rate, g := range map[int64]*gauge{tt.up: sent, tt.down: got} {
					if rate == 0 {
						continue
					}
					if b := g.burst(rate); b > 64<<10+float64(512*tt.streams) || b < 32<<10 {
						t.Errorf("a burst of %.0f bytes at %d B/s, want 64 KiB", b, rate)
					}
				}
			})
		})
	}
}

// TestLimitLetsGo: a stream that waits for its share ends at once.
func TestLimitLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFile(4 * protocol.PieceLength)
		cfg := serving(f)
		cfg.Limit = piece.NewLimit(1)
		s := piece.NewBareServer(cfg)
		ours, theirs := pipe()
		served := make(chan struct{})
		go func() {
			s.Serve(theirs, "leecher")
			close(served)
		}()
		e := newEvents()
		c := piece.Start(ours, fetching(f, e.put))
		want[piece.Bitfield](t, e)
		c.Request(0)
		time.Sleep(time.Second)
		began := time.Now()
		c.Close()
		if err := e.closed(t); err != nil {
			t.Error(err)
		}
		<-served
		if took := time.Since(began); took > time.Second {
			t.Errorf("ending took %v", took)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
