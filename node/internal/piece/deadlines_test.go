package piece_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/protocol"
)

// served brings a stream to the server and returns the leecher's end of it.
func served(s *piece.Server, running *sync.WaitGroup, id peer.ID) *pipeEnd {
	ours, theirs := pipe()
	running.Go(func() { s.Serve(theirs, id) })
	return ours
}

// bubble runs f with a server in simulated time, and ends what it leaves.
func bubble(t *testing.T, f *file, slots int, test func(t *testing.T, connect func(peer.ID) *pipeEnd, running *sync.WaitGroup)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := serving(f)
		cfg.Slots = slots
		s := piece.NewBareServer(cfg)
		var running sync.WaitGroup
		var ends []*pipeEnd
		test(t, func(id peer.ID) *pipeEnd {
			end := served(s, &running, id)
			ends = append(ends, end)
			return end
		}, &running)
		for _, end := range ends {
			_ = end.Close()
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		running.Wait()
	})
}

// timeToEnd reads nothing and returns when the server ends the stream: writing
// to it fails then.
func timeToEnd(t *testing.T, end *pipeEnd) time.Duration {
	t.Helper()
	began := time.Now()
	for time.Since(began) < time.Hour {
		time.Sleep(100 * time.Millisecond)
		_ = end.SetWriteDeadline(time.Now().Add(time.Millisecond))
		if _, err := end.Write(frame(t, cancel(0))); errors.Is(err, io.ErrClosedPipe) {
			return time.Since(began)
		}
	}
	t.Fatal("the stream never ended")
	return 0
}

func TestServerDropsTheSlow(t *testing.T) {
	tests := []struct {
		name     string
		leech    func(t *testing.T, end *pipeEnd) time.Duration
		min, max time.Duration
	}{
		{
			name: "says nothing", min: 5 * time.Second, max: 6 * time.Second,
			leech: func(_ *testing.T, end *pipeEnd) time.Duration {
				began := time.Now()
				_, _ = end.Read(make([]byte, 1))
				return time.Since(began)
			},
		},
		{
			name: "does not read the bitfield", min: 10 * time.Second, max: 11 * time.Second,
			leech: func(t *testing.T, end *pipeEnd) time.Duration {
				_, _ = end.Write(frame(t, opening("good", theFile)))
				return timeToEnd(t, end)
			},
		},
		{
			name: "does not read a piece", min: 10 * time.Second, max: 11 * time.Second,
			leech: func(t *testing.T, end *pipeEnd) time.Duration {
				openPipe(t, end)
				_, _ = end.Write(frame(t, request(0)))
				return timeToEnd(t, end)
			},
		},
		{
			name: "reads a piece at 8 KiB/s", min: 20 * time.Second, max: 31 * time.Second,
			leech: func(t *testing.T, end *pipeEnd) time.Duration {
				openPipe(t, end)
				_, _ = end.Write(frame(t, request(0)))
				began := time.Now()
				for {
					if _, err := io.ReadFull(end, make([]byte, 1<<10)); err != nil {
						return time.Since(began)
					}
					time.Sleep(time.Second / 8)
				}
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, newFile(4*protocol.PieceLength), 0, func(t *testing.T, connect func(peer.ID) *pipeEnd, _ *sync.WaitGroup) {
				if took := tt.leech(t, connect("slow")); took < tt.min || took > tt.max {
					t.Errorf("dropped after %v, want %v to %v", took, tt.min, tt.max)
				}
			})
		})
	}
}

func TestServerKeepsThePatient(t *testing.T) {
	bubble(t, newFile(protocol.PieceLength), 0, func(t *testing.T, connect func(peer.ID) *pipeEnd, _ *sync.WaitGroup) {
		end := connect("idle")
		reader := openPipe(t, end)
		time.Sleep(50 * time.Minute) // nothing is asked for: nothing is late
		_, _ = end.Write(frame(t, request(0)))
		m := readSeeder(t, reader)
		if m.GetPiece().GetLength() != protocol.PieceLength {
			t.Fatalf("got %v, want the piece", m)
		}
		got := make([]byte, protocol.PieceLength)
		began := time.Now()
		for i := 0; i < len(got); i += 1 << 10 { // 32 KiB/s is slow, and good enough
			if err := reader.ReadRaw(got[i : i+1<<10]); err != nil {
				t.Fatalf("after %v: %v", time.Since(began), err)
			}
			time.Sleep(time.Second / 32)
		}
	})
}

// Slow leechers hold all slots; an honest one comes later and must get its
// first byte within 5 s.
func TestSlowLeechersDoNotStarveOthers(t *testing.T) {
	for _, peers := range []int{64, 300} {
		t.Run(fmt.Sprint(peers), func(t *testing.T) {
			f := newFile(8 * protocol.PieceLength)
			bubble(t, f, 0, func(t *testing.T, connect func(peer.ID) *pipeEnd, running *sync.WaitGroup) {
				for i := range peers {
					end := connect(peer.ID(fmt.Sprintf("slow %d", i)))
					reader := openPipe(t, end)
					running.Go(func() {
						for i := range uint32(8) {
							if _, err := end.Write(frame(t, request(i))); err != nil {
								return
							}
						}
						for { // 20 KiB/s: too fast to be dropped
							if err := reader.ReadRaw(make([]byte, 2<<10)); err != nil {
								return
							}
							time.Sleep(time.Second / 10)
						}
					})
				}
				synctest.Wait()
				e := newEvents()
				c := piece.Start(connect("honest"), fetching(f, e.put))
				want[piece.Bitfield](t, e)
				began := time.Now()
				for i := range 4 {
					c.Request(i)
				}
				r := want[piece.Received](t, e)
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("the first piece took %v", took)
				}
				if !bytes.Equal(r.Data.B, f.piece(r.Piece)) {
					t.Error("the piece is not what it should be")
				}
				r.Data.Release()
				c.Close()
				if err := e.closed(t); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// With one slot taken for long, a waiting leecher hears of it and stays.
func TestWaitingForATurn(t *testing.T) {
	f := newFile(2 * protocol.PieceLength)
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f.before = func(int64) error { <-release; return nil }
		cfg := serving(f)
		cfg.Slots = 1
		s := piece.NewBareServer(cfg)
		var running sync.WaitGroup
		var all []*events
		for i := range 2 {
			e := newEvents()
			c := piece.Start(served(s, &running, peer.ID(fmt.Sprint(i))), fetching(f, e.put))
			defer c.Close()
			want[piece.Bitfield](t, e)
			c.Request(0)
			synctest.Wait()
			all = append(all, e)
		}
		time.Sleep(9 * time.Second)
		close(release)
		// The first has heard nothing for 9 s, the second that it has to wait.
		for _, e := range all {
			want[piece.Received](t, e).Data.Release()
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for _, e := range all {
			if e.closed(t) == nil {
				t.Error("closed without a reason")
			}
		}
		running.Wait()
	})
}

func TestConnDeadlines(t *testing.T) {
	f := newFile(2 * protocol.PieceLength)
	bitfield := frame(t, hasAll())
	header := frame(t, sends(0, protocol.PieceLength))
	tests := []struct {
		name     string
		seeder   func(end *pipeEnd)
		min, max time.Duration
	}{
		{name: "no bitfield", min: 10 * time.Second, max: 11 * time.Second, seeder: func(*pipeEnd) {}},
		{name: "no answer", min: 10 * time.Second, max: 11 * time.Second, seeder: func(end *pipeEnd) {
			_, _ = end.Write(bitfield)
		}},
		{name: "silence after reassurance", min: 40 * time.Second, max: 41 * time.Second, seeder: func(end *pipeEnd) {
			_, _ = end.Write(bitfield)
			for range 10 {
				time.Sleep(3 * time.Second)
				_, _ = end.Write(frame(t, waitTurn()))
			}
		}},
		{name: "silence within a piece", min: 14 * time.Second, max: 15 * time.Second, seeder: func(end *pipeEnd) {
			_, _ = end.Write(bitfield)
			_, _ = end.Write(header)
			time.Sleep(4 * time.Second)
			_, _ = end.Write(make([]byte, 1<<10))
		}},
		{name: "8 KiB/s within a piece", min: 20 * time.Second, max: 21 * time.Second, seeder: func(end *pipeEnd) {
			_, _ = end.Write(bitfield)
			_, _ = end.Write(header)
			for {
				if _, err := end.Write(make([]byte, 1<<10)); err != nil {
					return
				}
				time.Sleep(time.Second / 8)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := pipe()
				var running sync.WaitGroup
				running.Go(func() { _, _ = io.Copy(io.Discard, theirs) })
				e := newEvents()
				began := time.Now()
				c := piece.Start(ours, fetching(f, e.put))
				c.Request(0)
				running.Go(func() { tt.seeder(theirs) })
				for e.end == nil {
					ev := <-e.ch
					if end, ok := ev.(piece.Closed); ok {
						e.end = &end
					}
				}
				if !errors.Is(e.end.Err, piece.ErrLate) {
					t.Errorf("closed with %v, want ErrLate", e.end.Err)
				}
				if took := time.Since(began); took < tt.min || took > tt.max {
					t.Errorf("closed after %v, want %v to %v", took, tt.min, tt.max)
				}
				_ = theirs.Close()
				running.Wait()
			})
		})
	}
}

// While the sink blocks, nothing is read and nobody is late.
func TestSinkHoldsTheStreamUp(t *testing.T) {
	f := newFile(3 * protocol.PieceLength)
	bubble(t, f, 0, func(t *testing.T, connect func(peer.ID) *pipeEnd, _ *sync.WaitGroup) {
		release := make(chan struct{})
		e := newEvents()
		c := piece.Start(connect("busy"), fetching(f, func(ev piece.Event) {
			if _, ok := ev.(piece.Bitfield); ok {
				<-release
			}
			e.put(ev)
		}))
		c.Request(0)
		time.Sleep(9 * time.Second)
		close(release)
		want[piece.Bitfield](t, e)
		want[piece.Received](t, e).Data.Release()
		time.Sleep(time.Hour / 2) // at rest
		c.Request(1)
		want[piece.Received](t, e).Data.Release()
		c.Close()
		if err := e.closed(t); err != nil {
			t.Error(err)
		}
	})
}
