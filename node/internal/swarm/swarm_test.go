package swarm_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/swarm"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestHonestPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newWorld(), newFile(300)
		for _, id := range []string{"p0", "p1", "p2"} {
			w.add(id, f, 10*time.Millisecond)
		}
		var last swarm.Progress
		r := start(t, w, f, nil, func(c *swarm.Config) {
			c.OnProgress = func(p swarm.Progress) { last = p }
		})
		if p := r.Progress(); p.Total != f.manifest.Size || p.Pieces != 300 {
			t.Errorf("progress at the beginning: %+v", p)
		}
		r.until(t, "rate", 900*time.Millisecond, func(p swarm.Progress) bool { return p.Rate > 100*pieceLength && p.ETA > 0 && p.Peers == 3 })
		r.finish(t, w, f, 2*time.Second) // 1 s if nobody is ever idle
		sum := 0
		for i, p := range last.ByPeer {
			if p.Pieces < 60 || p.User != "user-"+string(p.Peer) {
				t.Errorf("by peer: %+v", p)
			}
			if i > 0 && p.Pieces > last.ByPeer[i-1].Pieces {
				t.Errorf("by peer: not in order: %+v", last.ByPeer)
			}
			sum += p.Pieces
		}
		if sum != 300 || last.Have != 300 {
			t.Errorf("pieces told last: %d by peers, %d in all", sum, last.Have)
		}
		if last.Wasted > 4*pieceLength {
			t.Errorf("wasted %d bytes", last.Wasted)
		}
		if err := r.Run(t.Context()); err == nil {
			t.Error("a second Run succeeded")
		}
	})
}

func TestNothingMissing(t *testing.T) {
	for _, pieces := range []int{0, 3} {
		t.Run(fmt.Sprint(pieces), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, f := newWorld(), newFile(max(pieces, 1))
				if pieces == 0 {
					f.manifest.Size, f.manifest.Pieces, f.have = 0, nil, nil
				}
				for i := range f.have {
					f.have[i] = true
				}
				start(t, w, f, nil, nil).finish(t, w, f, time.Millisecond)
			})
		})
	}
}

func TestBadPeerIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newWorld(), newFile(200)
		bad := w.add("p0", f, 10*time.Millisecond)
		bad.corrupt = true
		w.add("p1", f, 100*time.Millisecond)
		w.add("p2", f, 100*time.Millisecond)
		r := start(t, w, f, nil, nil)
		r.finish(t, w, f, time.Minute)
		if n := bad.dialed(); n != 1 {
			t.Errorf("the bad peer was dialed %d times", n)
		}
		if p := r.Progress(); p.Wasted > 4*pieceLength || p.Wasted == 0 || len(p.ByPeer) != 2 {
			t.Errorf("progress: %+v", p)
		}
	})
}

func TestLaggards(t *testing.T) {
	tests := []struct {
		name string
		lag  func(*host)
	}{
		{name: "silent", lag: func(h *host) { h.silent = true }},
		{name: "slow", lag: func(h *host) { h.each = 40 * time.Second }},
		{name: "gone in a moment", lag: func(h *host) { h.each = time.Hour }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, f := newWorld(), newFile(200)
				lagging := w.add("p0", f, 0)
				tt.lag(lagging)
				for _, id := range []string{"p1", "p2", "p3"} {
					w.add(id, f, 10*time.Millisecond)
				}
				r := start(t, w, f, nil, nil)
				if tt.name == "gone in a moment" {
					time.Sleep(300 * time.Millisecond)
					lagging.leave()
				}
				r.finish(t, w, f, 5*time.Second) // 0.7 s without p0
				if n := lagging.requests(); n > 4 {
					t.Errorf("%d requests to p0", n)
				}
			})
		})
	}
}

// TestFaultyStore: a store that says neither good nor bad blames no peer.
func TestFaultyStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newWorld(), newFile(20)
		f.undecided = true
		w.add("p0", f, 10*time.Millisecond)
		r := start(t, w, f, nil, nil)
		r.until(t, "reason", time.Second, func(p swarm.Progress) bool { return p.Reason == protocol.CodeInternal })
		f.mu.Lock()
		f.undecided = false
		f.mu.Unlock()
		r.finish(t, w, f, 10*time.Second)
		if p := r.Progress(); p.Peers != 0 || len(p.ByPeer) != 1 {
			t.Errorf("progress: %+v", p)
		}
	})
}

func TestAllLeaveAndReturn(t *testing.T) {
	for _, told := range []bool{true, false} {
		t.Run(fmt.Sprint("told=", told), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, f := newWorld(), newFile(200)
				w.add("p0", f, 10*time.Millisecond)
				w.add("p1", f, 10*time.Millisecond)
				var finds atomic.Int32
				r := start(t, w, f, nil, func(c *swarm.Config) { c.FindPeers = func() { finds.Add(1) } })
				r.until(t, "half of it", time.Minute, func(p swarm.Progress) bool { return p.Have >= 100 })
				for id, h := range w.peers {
					h.leave()
					if told {
						r.RemovePeer(id)
					}
				}
				// Unreachable peers are given the benefit of a first retry.
				r.until(t, "reason", 10*time.Second, func(p swarm.Progress) bool {
					return p.Reason == protocol.CodeNoSeeders && p.Message != "" && p.Peers == 0
				})
				before := r.Progress().Have
				time.Sleep(time.Minute)
				if n := finds.Load(); n < 3 || n > 12 {
					t.Errorf("asked %d times for peers in a minute", n)
				}
				for id, h := range w.peers {
					h.set(func() { h.offline = false })
					if told {
						r.AddPeer(swarm.Peer{ID: id})
					}
				}
				r.finish(t, w, f, 80*time.Second)
				if got := r.Progress(); got.Have-before > 101 || got.Wasted > 4*pieceLength {
					t.Errorf("progress: %+v", got)
				}
			})
		})
	}
}

func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newWorld(), newFile(400)
		for _, id := range []string{"p0", "p1", "p2"} {
			w.add(id, f, 10*time.Millisecond)
		}
		r := start(t, w, f, nil, nil)
		r.until(t, "beginning", time.Minute, func(p swarm.Progress) bool { return p.Have >= 50 })
		f.setFault(protocol.Errorf(protocol.CodeDiskFull, "the disk is full"))
		r.until(t, "reason", 2*time.Second, func(p swarm.Progress) bool {
			return p.Reason == protocol.CodeDiskFull && p.Message == "the disk is full"
		})
		time.Sleep(time.Second) // what was being sent has come
		tried, asked := requests(w, f)
		time.Sleep(time.Minute)
		triedAfter, askedAfter := requests(w, f)
		if askedAfter != asked || triedAfter-tried > 21 || triedAfter-tried < 10 {
			t.Errorf("in a minute with a full disk: %d requests, %d writes", askedAfter-asked, triedAfter-tried)
		}
		if n := w.unreleased(); n != 1 {
			t.Errorf("%d pieces are held while the disk is full, want 1", n)
		}
		f.setFault(nil)
		r.until(t, "resumption", 5*time.Second, func(p swarm.Progress) bool { return p.Reason == "" })
		r.finish(t, w, f, time.Minute)
		for id, h := range w.peers {
			if h.dialed() != 1 {
				t.Errorf("%s was dialed %d times", id, h.dialed())
			}
		}
	})
}

func TestCancel(t *testing.T) {
	tests := []struct {
		name  string
		after time.Duration
		fault error
	}{
		{name: "while dialing", after: 5 * time.Millisecond},
		{name: "while fetching", after: 333 * time.Millisecond},
		{name: "while the disk is full", after: 5*time.Second + 50*time.Millisecond, fault: protocol.ErrDiskFull},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, f := newWorld(), newFile(2000)
				f.slow, f.fault = 30*time.Millisecond, tt.fault
				for i := range 20 {
					w.add(fmt.Sprint("p", i), f, 7*time.Millisecond)
				}
				r := start(t, w, f, nil, nil)
				time.Sleep(tt.after)
				r.cancel()
				r.wait(t, time.Second)
				if !errors.Is(r.err, context.Canceled) {
					t.Errorf("run: got %v, want %v", r.err, context.Canceled)
				}
				r.settled(t, w)
			})
		})
	}
}

func TestTwoSwarmsShareTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const budget = 12
		shared := swarm.NewShared(budget*pieceLength, 4)
		w, first, second := newWorld(), newFile(300), newFile(300)
		for i := range 10 {
			w.add(fmt.Sprint("p", i), first, 50*time.Millisecond)
		}
		a := start(t, w, first, shared, nil)
		a.until(t, "full use", time.Second, func(swarm.Progress) bool { return w.peak() == budget })
		b := start(t, w, second, shared, nil)
		b.until(t, "beginning", time.Minute, func(p swarm.Progress) bool { return p.Have > 60 })
		mid := a.Progress().Have
		b.until(t, "fair share", time.Minute, func(p swarm.Progress) bool { return p.Have > 120 })
		if got := a.Progress().Have - mid; got < 30 || got > 120 {
			t.Errorf("while one got 60 pieces, the other got %d", got)
		}
		a.wait(t, time.Minute)
		b.wait(t, time.Minute)
		a.finish(t, w, first, time.Minute)
		b.finish(t, w, second, time.Minute)
		// The newcomer's first two pieces are beyond the budget if it is used up.
		if most := w.peak(); most > budget+2 {
			t.Errorf("in flight: got %d pieces, want at most %d", most, budget+2)
		}
	})
}

// TestDownloadsWaitForSeats: under a limit there are two downloads at once. One
// whose peers send nothing gives its seat to the next.
func TestDownloadsWaitForSeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := swarm.NewQueue(1, 4, 2)
		w, deaf := newWorld(), newWorld()
		deafFile := newFile(40)
		deaf.add("p0", deafFile, 0).silent = true
		stuck := start(t, deaf, deafFile, shared, nil)
		stuck.until(t, "a peer", time.Second, func(p swarm.Progress) bool { return p.Peers == 1 })
		time.Sleep(time.Second)
		shape := newFile(40)
		for i := range 4 {
			w.add(fmt.Sprint("p", i), shape, 100*time.Millisecond)
		}
		var files []*file
		var runs []*running
		for range 5 {
			files = append(files, newFile(40))
			runs = append(runs, start(t, w, files[len(files)-1], shared, nil))
		}
		time.Sleep(500 * time.Millisecond)
		going, queued := 0, 0
		for _, r := range runs {
			switch p := r.Progress(); {
			case p.Have > 0 && p.Reason == "":
				going++
			case p.Reason == protocol.CodeBusy && p.Have == 0 && p.Peers > 0:
				queued++
			}
		}
		if going != 1 || queued != 4 {
			t.Errorf("%d downloads go on and %d wait, want 1 and 4 beside the deaf one", going, queued)
		}
		for _, r := range runs {
			r.wait(t, 10*time.Minute)
		}
		for i, r := range runs {
			r.finish(t, w, files[i], time.Minute)
		}
		if most := w.peak(); most > 4 {
			t.Errorf("in flight: %d pieces of two downloads", most)
		}
		stuck.cancel()
		stuck.wait(t, time.Second)
	})
}

func TestAllCorrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newWorld(), newFile(50)
		for _, id := range []string{"p0", "p1"} {
			w.add(id, f, 10*time.Millisecond).corrupt = true
		}
		r := start(t, w, f, nil, nil)
		r.wait(t, time.Minute)
		if protocol.CodeOf(r.err) != protocol.CodeBadData {
			t.Errorf("run: got %v, want %s", r.err, protocol.CodeBadData)
		}
		r.settled(t, w)
	})
}

func TestInconsistentManifest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newWorld(), newFile(50)
		f.inconsistent = true
		w.add("p0", f, 10*time.Millisecond)
		r := start(t, w, f, nil, nil)
		r.wait(t, time.Second)
		if protocol.CodeOf(r.err) != protocol.CodeBadManifest {
			t.Errorf("run: got %v, want %s", r.err, protocol.CodeBadManifest)
		}
		r.settled(t, w)
	})
}
