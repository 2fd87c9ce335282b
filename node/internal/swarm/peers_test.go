package swarm_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/node/internal/swarm"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestUnreachablePeerIsRetriedLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newWorld(), newFile(10)
		h := w.add("p0", f, 10*time.Millisecond)
		h.offline = true
		r := start(t, w, f, nil, nil)
		r.until(t, "reason", time.Minute, func(p swarm.Progress) bool {
			return p.Reason == protocol.CodeNoSeeders && strings.Contains(p.Message, "can be reached from here: 1 tried (connection refused)")
		})
		time.Sleep(10 * time.Minute)
		h.mu.Lock()
		dials := slices.Clone(h.dials)
		h.mu.Unlock()
		if len(dials) < 12 || len(dials) > 22 {
			t.Errorf("dials in ten minutes: %d", len(dials))
		}
		for i := 1; i < len(dials); i++ {
			if gap := dials[i].Sub(dials[i-1]); gap < 700*time.Millisecond || gap > 80*time.Second {
				t.Errorf("dial %d came after %v", i, gap)
			}
		}
		h.set(func() { h.offline = false })
		r.finish(t, w, f, 80*time.Second)
	})
}

func TestRefusedUntilRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newWorld(), newFile(100)
		h := w.add("p0", f, 10*time.Millisecond)
		h.refuse = protocol.Errorf(protocol.CodeNotMember, "not a member")
		r := start(t, w, f, nil, nil)
		r.until(t, "reason", time.Second, func(p swarm.Progress) bool { return p.Reason == protocol.CodeNotMember })
		time.Sleep(time.Hour)
		if n := h.dialed(); n < 7 || n > 14 {
			t.Errorf("dialed %d times in an hour of refusals, want waits that double from 5 s to 10 min", n)
		}
		h.set(func() { h.refuse = nil })
		r.Renew([]byte("second"))
		r.until(t, "half of it", 2*time.Second, func(p swarm.Progress) bool { return p.Have >= 50 })
		r.Renew([]byte("third"))
		r.finish(t, w, f, 2*time.Second)
		if got := fmt.Sprint(h.tickets); got != "[third]" {
			t.Errorf("tickets shown on the link: %v", got)
		}
	})
}

// A seeder that serves eight downloads of this client is tried again soon,
// however long it has been so, since one may end at any time.
func TestBusyPeerIsTriedAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newWorld(), newFile(100)
		h := w.add("p0", f, 10*time.Millisecond)
		h.refuse = protocol.Errorf(protocol.CodeBusy, "busy")
		r := start(t, w, f, nil, nil)
		r.until(t, "reason", 5*time.Second, func(p swarm.Progress) bool { return p.Reason == protocol.CodeBusy && p.Message != "" })
		time.Sleep(10 * time.Minute)
		if p := r.Progress(); p.Reason != protocol.CodeBusy {
			t.Errorf("progress: %+v", p)
		}
		h.set(func() { h.refuse = nil })
		r.finish(t, w, f, 10*time.Second)
	})
}

func TestNoTicketWithoutTracker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newWorld(), newFile(100)
		h := w.add("p0", f, 10*time.Millisecond)
		h.refuse = protocol.Errorf(protocol.CodeNoTracker, "no tracker reachable")
		r := start(t, w, f, nil, nil)
		r.until(t, "reason", time.Second, func(p swarm.Progress) bool { return p.Reason == protocol.CodeNoTracker && p.Message != "" })
		time.Sleep(10 * time.Minute)
		if p := r.Progress(); p.Reason != protocol.CodeNoTracker {
			t.Errorf("progress: %+v", p)
		}
		h.set(func() { h.refuse = nil })
		r.finish(t, w, f, 10*time.Second)
	})
}

func TestPeerThatClosesIsDialedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newWorld(), newFile(100)
		h := w.add("p0", f, 10*time.Millisecond)
		r := start(t, w, f, nil, nil)
		for i := range 4 {
			r.until(t, "progress", 5*time.Second, func(p swarm.Progress) bool { return p.Have > 20*i })
			h.leave()
			h.set(func() { h.offline = false })
		}
		r.finish(t, w, f, 10*time.Second)
		if n := h.dialed(); n != 5 {
			t.Errorf("dials: got %d, want 5", n)
		}
	})
}

// TestPlacesGoToUseful: 40 peers that lack everything are named before the
// only one that has the file.
func TestPlacesGoToUseful(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newWorld(), newFile(100)
		for i := range 40 {
			w.add(fmt.Sprint("p", i), f, 10*time.Millisecond).has = make([]bool, 100)
		}
		w.add("p40", f, 10*time.Millisecond)
		var dialing, links, mostDialing, mostLinks atomic.Int32
		r := start(t, w, f, nil, func(c *swarm.Config) {
			dial := c.Dial
			c.Dial = func(ctx context.Context, p swarm.Peer, sink func(piece.Event)) (swarm.Link, error) {
				mostDialing.Store(max(mostDialing.Load(), dialing.Add(1)))
				defer dialing.Add(-1)
				mostLinks.Store(max(mostLinks.Load(), links.Add(1)))
				return dial(ctx, p, func(ev piece.Event) {
					if _, ok := ev.(piece.Closed); ok {
						links.Add(-1)
					}
					sink(ev)
				})
			}
		})
		r.until(t, "full house", 5*time.Second, func(p swarm.Progress) bool { return p.Peers == 30 })
		r.finish(t, w, f, time.Minute)
		if d, l := mostDialing.Load(), mostLinks.Load(); d > 8 || l > 30 {
			t.Errorf("at once: %d dials, %d links", d, l)
		}
	})
}

// TestPlacesGoToThoseWhoDeliver: all places are taken by peers that have the
// file and never send any of it; the reason is told, and who comes later gets one.
func TestPlacesGoToThoseWhoDeliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newWorld(), newFile(100)
		for i := range 30 {
			w.add(fmt.Sprint("p", i), f, 10*time.Millisecond).silent = true
		}
		var asked atomic.Int32
		r := start(t, w, f, nil, func(c *swarm.Config) { c.FindPeers = func() { asked.Add(1) } })
		r.until(t, "full house", 5*time.Second, func(p swarm.Progress) bool { return p.Peers == 30 })
		r.until(t, "reason", 2*time.Minute, func(p swarm.Progress) bool { return p.Reason == protocol.CodeBusy && p.Message != "" })
		before := asked.Load()
		time.Sleep(2 * time.Minute)
		if asked.Load() == before {
			t.Error("nobody is looked for")
		}
		w.add("good", f, 10*time.Millisecond)
		r.AddPeer(swarm.Peer{ID: "good"})
		r.finish(t, w, f, time.Minute)
	})
}

// scripted is a link driven by a test.
type scripted struct {
	sink      func(piece.Event)
	requested chan int
	closed    chan struct{}
}

func (l *scripted) Request(i int)      { l.requested <- i }
func (l *scripted) Cancel(int)         {}
func (l *scripted) Renew([]byte)       {}
func (l *scripted) RTT() time.Duration { return 0 }

func (l *scripted) Close() {
	select {
	case <-l.closed:
	default:
		close(l.closed)
		go l.sink(piece.Closed{})
	}
}

// TestEventsBeforeTheLink: what a link tells before its dial returns counts.
func TestEventsBeforeTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFile(3)
		l := &scripted{requested: make(chan int, 10), closed: make(chan struct{})}
		r := start(t, newWorld(), f, nil, func(c *swarm.Config) {
			c.Dial = func(_ context.Context, p swarm.Peer, sink func(piece.Event)) (swarm.Link, error) {
				if p.ID == "dead" {
					sink(piece.Bitfield{Complete: true})
					sink(piece.Closed{Err: protocol.ErrNotMember})
					return &scripted{sink: func(piece.Event) {}, closed: make(chan struct{})}, nil
				}
				l.sink = sink
				sink(piece.Bitfield{Bits: []byte{0x80}})
				sink(piece.Have{Piece: 2})
				sink(piece.Have{Piece: 99})
				return l, nil
			}
		})
		r.AddPeer(swarm.Peer{ID: "live"})
		r.AddPeer(swarm.Peer{ID: "dead"})
		got := []int{<-l.requested, <-l.requested}
		slices.Sort(got)
		if !slices.Equal(got, []int{0, 2}) {
			t.Errorf("requests: got %v, want 0 and 2", got)
		}
		l.sink(piece.Dropped{Piece: 2, Code: protocol.CodeNotFound})
		for _, i := range []int{0, 0, 1, 2} { // one twice, and two that nobody asks for
			l.sink(piece.Received{Piece: i, Data: &piece.Buffer{B: content(i, f.manifest.PieceSize(i))}})
		}
		synctest.Wait()
		time.Sleep(200 * time.Millisecond)
		if p := r.Progress(); p.Have != 1 || p.Peers != 1 || p.Wasted != f.manifest.Size { // one of each
			t.Errorf("progress: %+v", p)
		}
		l.sink(piece.Have{Piece: 1})
		if got := <-l.requested; got != 1 {
			t.Errorf("request: got %d, want 1", got)
		}
		r.cancel()
		r.wait(t, time.Second)
	})
}

// Four pieces of a download are written at a time.
func TestWritesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newWorld(), newFile(60)
		f.slow = 100 * time.Millisecond
		for i := range 5 {
			w.add(fmt.Sprint("p", i), f, time.Millisecond)
		}
		began := time.Now()
		r := start(t, w, f, swarm.NewShared(20*pieceLength, 3), nil)
		r.finish(t, w, f, time.Minute)
		if took := time.Since(began); took < 1400*time.Millisecond || took > 2*time.Second {
			t.Errorf("60 writes of 100 ms took %v", took)
		}
		if most := w.peak(); most > 20 {
			t.Errorf("in flight: %d pieces", most)
		}
	})
}

func TestWithdrawnPeerIsNotDialed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newWorld(), newFile(10)
		h := w.add("p0", f, 10*time.Millisecond)
		r := start(t, w, f, nil, nil)
		r.RemovePeer(peer.ID("p0"))
		time.Sleep(time.Minute)
		if n := h.dialed(); n > 1 {
			t.Errorf("dialed %d times", n)
		}
		if h.dialed() == 0 {
			r.AddPeer(swarm.Peer{ID: "p0"})
		}
		r.finish(t, w, f, time.Minute)
	})
}

// TestSeedersLackPieces: who is there does not have what is missing. That is
// told, and the download goes on when somebody has it.
func TestSeedersLackPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newWorld(), newFile(20)
		part := w.add("p0", f, 10*time.Millisecond)
		part.has = make([]bool, 20)
		for i := range 18 {
			part.has[i] = true
		}
		r := start(t, w, f, nil, nil)
		r.until(t, "reason", 5*time.Second, func(p swarm.Progress) bool {
			return p.Reason == protocol.CodeNoSeeders && p.Peers == 1 && p.Have == 18 && strings.Contains(p.Message, "(2 of 20 pieces)")
		})
		time.Sleep(time.Hour)
		if p := r.Progress(); p.Reason != protocol.CodeNoSeeders || p.Have != 18 {
			t.Errorf("progress: %+v", p)
		}
		w.add("p1", f, 10*time.Millisecond)
		r.AddPeer(swarm.Peer{ID: "p1"})
		r.finish(t, w, f, 5*time.Second)
	})
}
