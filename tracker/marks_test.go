package tracker_test

import (
	"os"
	"testing"
	"time"
)

// The marks are those of a machine with 2 cores that does nothing else. What
// always runs has bounds that hold on a busy one, and finds what is slower by
// an order: a sync too many, a wait for a round, a pass over everything.

func long(t *testing.T) {
	t.Helper()
	if os.Getenv("P2PSHARE_LONG") == "" {
		t.Skip("wants the machine for itself: run it with make long")
	}
}

func TestChangesAreVisible(t *testing.T) { visible(t, 50, time.Second, 10*time.Second) }

func TestLongChangesAreVisible(t *testing.T) {
	long(t)
	visible(t, 2000, 5*time.Millisecond, 50*time.Millisecond)
}

func visible(t *testing.T, changes int, p50, p99 time.Duration) {
	took := measureVisible(t, changes)
	t.Logf("p50 %v, p99 %v", percentile(took, 50), percentile(took, 99))
	if percentile(took, 50) > p50 || percentile(took, 99) > p99 {
		t.Errorf("a change is told at the other tracker after %v (p50) and %v (p99), want %v and %v",
			percentile(took, 50), percentile(took, 99), p50, p99)
	}
}

func TestWritesPerSecond(t *testing.T) { writes(t, 200, 5, 20, 20) }

func TestLongWritesPerSecond(t *testing.T) {
	long(t)
	writes(t, 5000, 250, 1500, 0)
}

// writes allows for so many changes that the other tracker has not confirmed in
// time: one stall of it is as many as there are writers.
func writes(t *testing.T, changes int, one, sixteen float64, unconfirmed int) {
	for writers, want := range map[int]float64{1: one, 16: sixteen} {
		got, alone := measureWrites(t, writers, changes)
		t.Logf("%d writers: %.0f changes a second, %d of %d on one disk only", writers, got, alone, changes)
		if alone > unconfirmed {
			t.Errorf("%d writers: %d of %d changes are on one disk only, at most %d may be", writers, alone, changes, unconfirmed)
		}
		if got < want {
			t.Errorf("%d writers: %.0f changes a second, want %.0f", writers, got, want)
		}
	}
}

func TestNewTrackerCatchesUp(t *testing.T) { catchUp(t, 10_000, 30*time.Second, 20e6) }

func TestLongNewTrackerCatchesUp(t *testing.T) {
	long(t)
	catchUp(t, 100_000, 10*time.Second, 100e6)
}

func catchUp(t *testing.T, facts int, whole time.Duration, disk int64) {
	c := measureCatchUp(t, facts)
	t.Logf("%d facts: serves after %v, has the manifests after %v, %.1f MB on disk; memory: the new tracker %d MiB, the other %d MiB",
		facts, c.ready, c.manifests, float64(c.disk)/1e6, c.young>>20, c.old>>20)
	if c.manifests > whole || c.disk > disk {
		t.Errorf("%d facts: %v to catch up, manifests included, and %d bytes of disk, want %v and %d", facts, c.manifests, c.disk, whole, disk)
	}
	if most := max(c.young, c.old); most > 250<<20 {
		t.Errorf("a tracker took %d MiB, want 250", most>>20)
	}
}

func TestUpdatesLeaveNoTrace(t *testing.T) { growth(t, 1000) }

func TestLongUpdatesLeaveNoTrace(t *testing.T) {
	long(t)
	growth(t, 20_000)
}

func growth(t *testing.T, updates int) {
	grown := measureGrowth(t, updates)
	t.Logf("%d updates of 100 facts: %d bytes", updates, grown)
	if grown > 5e6 {
		t.Errorf("%d updates of 100 facts left %d bytes on disk, want less than 5 MB", updates, grown)
	}
}
