package node_test

import (
	"context"
	"testing"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestPauseSurvivesRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	_, bob, d, release := w.midTransfer()
	w.ok(d.Pause(t.Context()))
	w.ok(d.Pause(t.Context())) // harmless
	release()
	p := d.Progress()
	if p.State != node.Paused || p.Done == 0 || p.Done == p.Total || p.Rate != 0 || p.Peers != 0 || p.Reason != "" {
		t.Errorf("got %+v", p)
	}
	select {
	case <-d.Done():
		t.Error("a paused download has not ended")
	default:
	}
	w.ok(bob.Close())

	bob = w.node("bob")
	d = bob.onlyDownload()
	if again := d.Progress(); again.State != node.Paused || again.Done == 0 || again.Done > p.Done {
		t.Errorf("after the restart %+v, before %+v", again, p)
	}
	w.ok(d.Resume())
	w.ok(d.Resume()) // harmless
	res := bob.finish(d)
	w.same(res, w.source("big.bin"))
	w.want(d.Pause(t.Context()), protocol.CodeNotFound)
	w.want(d.Resume(), protocol.CodeNotFound)
	w.want(d.Cancel(t.Context()), protocol.CodeNotFound)
	if left := bob.partials(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// What was fetched before a restart is shown from the first moment on.
func TestRestartShowsWhatIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	_, bob, d, release := w.midTransfer()
	w.ok(d.Pause(t.Context())) // what it has is on disk then
	w.ok(d.Resume())
	w.ok(bob.Close())
	bob = w.node("bob")
	d = bob.onlyDownload()
	if p := d.Progress(); p.State == node.Paused || p.Done == 0 {
		t.Errorf("after the restart %+v", p)
	}
	release()
	w.same(bob.finish(d), w.source("big.bin"))
}

func TestDownloadAgainResumes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	_, bob, d, release := w.midTransfer()
	w.ok(d.Pause(t.Context()))
	release()
	again, err := bob.Download(t.Context(), "g", "big.bin", "")
	w.ok(err)
	if again != d {
		t.Error("a second download of the same file was begun")
	}
	w.same(bob.finish(d), w.source("big.bin"))
}

func TestCancelRemovesPartialData(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		before func(w *world, d *node.Download)
	}{
		{"while it runs", func(*world, *node.Download) {}},
		{"while it is paused", func(w *world, d *node.Download) { w.ok(d.Pause(w.Context())) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			_, bob, d, release := w.midTransfer()
			if left := bob.partials(); len(left) != 1 {
				t.Fatalf("partial files: %v, want one", left)
			}
			tt.before(w, d)
			w.ok(d.Cancel(t.Context()))
			if left := bob.partials(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			_, err := d.Wait(context.Background())
			w.want(err, protocol.CodeNotFound)
			if all, err := bob.Downloads(); err != nil || len(all) > 0 {
				t.Errorf("downloads %v, %v, want none", all, err)
			}
			release()
			w.same(bob.download("g", "big.bin"), w.source("big.bin"))
			if shares, err := bob.Shares(); err != nil || len(shares) != 1 {
				t.Errorf("shares %v, %v", shares, err)
			}
		})
	}
}
