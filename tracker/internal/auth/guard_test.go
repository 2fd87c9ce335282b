package auth_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
)

func failures(t *testing.T) auth.Rate {
	t.Helper()
	r, err := auth.ParseRate("1/45s,5")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// guess tries once; device is "" for a client that the user never used.
func guess(t *testing.T, g *auth.Guard, name, device string, o auth.Outcome) error {
	t.Helper()
	done, err := g.Begin(t.Context(), name, device)
	if err == nil {
		done(o)
	}
	return err
}

func TestGuardSlowsGuessing(t *testing.T) {
	c := newClock()
	g := auth.NewGuard(failures(t), 2, c.Now)
	for i := range 5 {
		if err := guess(t, g, "ada", "", auth.Wrong); err != nil {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	err := guess(t, g, "ada", "", auth.Right)
	var e *protocol.Error
	if !errors.As(err, &e) || e.Code != protocol.CodeRate || e.RetryAfter != 90*time.Second {
		t.Fatalf("sixth guess, from another client: %v, want E_RATE with 90s (two trackers)", err)
	}
	if err := guess(t, g, "bob", "", auth.Right); err != nil {
		t.Errorf("another account: %v", err)
	}
	c.Advance(90 * time.Second)
	if err := guess(t, g, "ada", "", auth.Wrong); err != nil {
		t.Errorf("90 s later: %v", err)
	}
	if err := guess(t, g, "ada", "", auth.Wrong); protocol.CodeOf(err) != protocol.CodeRate {
		t.Errorf("and another: %v, want E_RATE", err)
	}
}

func TestGuardKnownDeviceIsNotLockedOut(t *testing.T) {
	c := newClock()
	g := auth.NewGuard(failures(t), 1, c.Now)
	for range 5 {
		if err := guess(t, g, "ada", "", auth.Wrong); err != nil {
			t.Fatal(err)
		}
	}
	if err := guess(t, g, "ada", "", auth.Wrong); protocol.CodeOf(err) != protocol.CodeRate {
		t.Fatalf("eve: %v, want E_RATE", err)
	}
	if err := guess(t, g, "ada", "her laptop", auth.Right); err != nil {
		t.Errorf("the known device: %v", err)
	}
	for range 5 {
		if err := guess(t, g, "ada", "her laptop", auth.Wrong); err != nil {
			t.Fatal(err)
		}
	}
	if err := guess(t, g, "ada", "her laptop", auth.Right); protocol.CodeOf(err) != protocol.CodeRate {
		t.Errorf("after wrong ones on the known device: %v, want E_RATE", err)
	}
	if err := guess(t, g, "ada", "her phone", auth.Right); err != nil {
		t.Errorf("another known device: %v", err)
	}
}

func TestGuardUndecidedCountsForNothing(t *testing.T) {
	c := newClock()
	g := auth.NewGuard(failures(t), 1, c.Now)
	for i := range 50 {
		if err := guess(t, g, "ada", "", auth.Undecided); err != nil {
			t.Fatalf("try %d: %v", i, err)
		}
	}
}

// Tries under way may not outnumber the wrong ones that are still allowed:
// otherwise a hundred at once would all pass before the first is counted.
func TestGuardBoundsTriesUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := auth.NewGuard(failures(t), 1, time.Now)
		var under []func(auth.Outcome)
		for range 5 {
			done, err := g.Begin(t.Context(), "ada", "")
			if err != nil {
				t.Fatal(err)
			}
			under = append(under, done)
		}
		start := time.Now()
		if _, err := g.Begin(t.Context(), "ada", ""); protocol.CodeOf(err) != protocol.CodeBusy || time.Since(start) != 5*time.Second {
			t.Errorf("a sixth: %v after %v, want E_BUSY after 5s", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := g.Begin(ctx, "ada", ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one that gives up: %v", err)
		}
		waiting := make(chan error, 1)
		go func() {
			done, err := g.Begin(t.Context(), "ada", "")
			if err == nil {
				done(auth.Right)
			}
			waiting <- err
		}()
		synctest.Wait()
		under[0](auth.Right)
		if err := <-waiting; err != nil {
			t.Errorf("one that waited for a place: %v", err)
		}
		for _, done := range under[1:] {
			done(auth.Wrong)
		}
	})
}
