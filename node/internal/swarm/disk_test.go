package swarm_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/swarm"
	"github.com/p2pshare/p2pshare/protocol"
)

// A download whose disk is slow is alone with it.
func TestSlowDiskHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := swarm.NewShared(64*pieceLength, 4)
		slow, slowFile := newWorld(), newFile(5000)
		slowFile.slow = 400 * time.Millisecond
		slow.add("p0", slowFile, time.Millisecond)
		a := start(t, slow, slowFile, shared, nil)
		time.Sleep(5 * time.Second)
		w, f := newWorld(), newFile(1000)
		w.add("p0", f, time.Millisecond)
		w.add("p1", f, time.Millisecond)
		before := a.Progress().Have
		start(t, w, f, shared, nil).finish(t, w, f, 2*time.Second) // 0.5 s alone
		time.Sleep(2 * time.Second)
		if p := a.Progress(); p.Have <= before || p.Reason != "" {
			t.Errorf("the one with the slow disk: %d pieces before, then %+v", before, p)
		}
		a.cancel()
		a.wait(t, 10*time.Second)
		a.settled(t, slow)
	})
}

// A disk that does not answer stops its own download, which says so, holds
// little memory meanwhile, and goes on when it answers.
func TestHungDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := swarm.NewShared(64*pieceLength, 4)
		hung, hungFile := newWorld(), newFile(500)
		answer := make(chan struct{})
		hungFile.hung = answer
		hung.add("p0", hungFile, time.Millisecond)
		a := start(t, hung, hungFile, shared, nil)
		time.Sleep(5 * time.Second)
		w, f := newWorld(), newFile(1000)
		w.add("p0", f, time.Millisecond)
		start(t, w, f, shared, nil).finish(t, w, f, 5*time.Second) // 1 s alone
		a.until(t, "reason", 40*time.Second, func(p swarm.Progress) bool {
			return p.Reason == protocol.CodeState && p.Message != ""
		})
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if n := hung.unreleased(); n > 4 {
			t.Errorf("%d pieces are held while the disk does not answer", n)
		}
		if p := a.Progress(); p.Reason != protocol.CodeState {
			t.Errorf("after half an hour: %+v", p)
		}
		hungFile.mu.Lock()
		hungFile.hung = nil
		hungFile.mu.Unlock()
		close(answer)
		a.finish(t, hung, hungFile, 10*time.Second)
	})
}

// Under a limit of the rate a download that waits for its disk lets others have
// its place.
func TestSeatOfAFaultyDisk(t *testing.T) {
	for _, tt := range []struct {
		name string
		fail func(f *file)
	}{
		{"full", func(f *file) { f.setFault(protocol.Errorf(protocol.CodeDiskFull, "the disk is full")) }},
		{"hung", func(f *file) { f.hung = make(chan struct{}) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shared := swarm.NewQueue(64*pieceLength, 4, 1)
				broken, brokenFile := newWorld(), newFile(50)
				tt.fail(brokenFile)
				broken.add("p0", brokenFile, 10*time.Millisecond)
				a := start(t, broken, brokenFile, shared, nil)
				time.Sleep(40 * time.Second)
				w, f := newWorld(), newFile(50)
				w.add("p0", f, 10*time.Millisecond)
				start(t, w, f, shared, nil).finish(t, w, f, 5*time.Second)
				brokenFile.setFault(nil)
				if brokenFile.hung != nil {
					close(brokenFile.hung)
				}
				a.finish(t, broken, brokenFile, 10*time.Second)
			})
		})
	}
}

// A fault that lasts ends the run, so that the file is opened anew: where a disk
// was away and is there again, what was opened before stays dead. A full disk
// needs no such thing, and a fault that passes neither.
func TestLastingFaultEndsTheRun(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault error
		lasts time.Duration
		ends  protocol.Code
	}{
		{"dead", protocol.Errorf(protocol.CodeState, "broken"), time.Hour, protocol.CodeState},
		{"read-only", protocol.Errorf(protocol.CodePerm, "read-only"), time.Hour, protocol.CodePerm},
		{"dead for a moment", protocol.Errorf(protocol.CodeState, "broken"), 8 * time.Second, ""},
		{"full", protocol.ErrDiskFull, time.Hour, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, f := newWorld(), newFile(400)
				w.add("p0", f, 10*time.Millisecond)
				r := start(t, w, f, nil, nil)
				r.until(t, "beginning", time.Minute, func(p swarm.Progress) bool { return p.Have >= 50 })
				f.setFault(tt.fault)
				if tt.ends != "" {
					r.wait(t, 20*time.Second)
					if code := protocol.CodeOf(r.err); code != tt.ends {
						t.Errorf("run: got %v, want %s", r.err, tt.ends)
					}
					r.settled(t, w)
					return
				}
				time.Sleep(tt.lasts)
				f.setFault(nil)
				r.finish(t, w, f, 20*time.Second)
			})
		})
	}
}
