package auth_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
)

// cheap keeps hashes fast; what they cost in earnest is tested once.
func cheap() auth.Params { return auth.Params{Memory: 64, Time: 1, Threads: 1} }

func TestHashAndCheck(t *testing.T) {
	h := auth.NewHasher(auth.HasherOptions{Params: cheap()})
	phc, err := h.Hash(t.Context(), "", []byte("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, phc, password string
		want                bool
	}{
		{"right", phc, "correct horse", true},
		{"wrong", phc, "correct horsf", false},
		{"empty", phc, "", false},
		{"unknown user", "", "correct horse", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := h.Check(t.Context(), "", tt.phc, []byte(tt.password))
			if err != nil || got != tt.want {
				t.Errorf("Check = %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestHashDefaultsAndSalt(t *testing.T) {
	h := auth.NewHasher(auth.HasherOptions{})
	a, err := h.Hash(t.Context(), "", []byte("a password"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := h.Hash(t.Context(), "", []byte("a password"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(a, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("costs of %q are not the defaults", a)
	}
	if a == b {
		t.Error("two hashes of one password are equal: no salt")
	}
}

func TestPasswordIsWiped(t *testing.T) {
	h := auth.NewHasher(auth.HasherOptions{Params: cheap()})
	password := []byte("correct horse")
	if _, err := h.Hash(t.Context(), "", password); err != nil {
		t.Fatal(err)
	}
	if string(password) != strings.Repeat("\x00", len(password)) {
		t.Errorf("password after Hash = %q, want zeros", password)
	}
}

func TestForgedRecordIsRefused(t *testing.T) {
	h := auth.NewHasher(auth.HasherOptions{Params: cheap()})
	forged := "$argon2id$v=19$m=4194304,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	if ok, err := h.Check(t.Context(), "", forged, []byte("x")); ok || err == nil {
		t.Errorf("Check of a record of 4 GiB = %v, %v, want an error", ok, err)
	}
}

func TestPasswordForm(t *testing.T) {
	composed, err := auth.Password("caf\u00e9 noir")
	if err != nil {
		t.Fatal(err)
	}
	decomposed, err := auth.Password("cafe\u0301 noir")
	if err != nil {
		t.Fatal(err)
	}
	if string(composed) != string(decomposed) {
		t.Errorf("two spellings of one password: %q and %q", composed, decomposed)
	}
	if _, err := auth.Password("with\x00nul"); protocol.CodeOf(err) != protocol.CodePassword {
		t.Errorf("password with NUL: %v, want E_PASSWORD", err)
	}
}

// A full queue refuses at once, a slow one after the wait, and a caller that
// gives up leaves its place.
func TestHasherIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := auth.NewHasher(auth.HasherOptions{Params: cheap(), Concurrent: 1, Queue: 1, Wait: 5 * time.Second})
		release := h.Occupy()
		type result struct {
			err  error
			took time.Duration
		}
		start := time.Now()
		queued := make(chan result, 1)
		go func() {
			_, err := h.Hash(t.Context(), "", []byte("queued"))
			queued <- result{err, time.Since(start)}
		}()
		synctest.Wait()

		_, err := h.Hash(t.Context(), "", []byte("too many"))
		var e *protocol.Error
		if !errors.As(err, &e) || e.Code != protocol.CodeBusy || e.RetryAfter <= 0 {
			t.Errorf("with a full queue: %v, want E_BUSY with a time", err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("refused after %v, want at once", took)
		}
		r := <-queued
		if protocol.CodeOf(r.err) != protocol.CodeBusy || r.took != 5*time.Second {
			t.Errorf("queued one: %v after %v, want E_BUSY after 5s", r.err, r.took)
		}

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := h.Hash(ctx, "", []byte("gone")); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled one: %v", err)
		}
		release()
		if _, err := h.Hash(t.Context(), "", []byte("free again")); err != nil {
			t.Errorf("after release: %v", err)
		}
	})
}

func TestRandomPassword(t *testing.T) {
	a, b := auth.RandomPassword(), auth.RandomPassword()
	if a == b || len(a) != 16 {
		t.Errorf("RandomPassword = %q, %q", a, b)
	}
	if err := protocol.CheckPassword(a, 12); err != nil {
		t.Error(err)
	}
}

func TestOutdated(t *testing.T) {
	made := func(p auth.Params) string {
		phc, err := auth.NewHasher(auth.HasherOptions{Params: p}).Hash(t.Context(), "", []byte("correct horse"))
		if err != nil {
			t.Fatal(err)
		}
		return phc
	}
	h := auth.NewHasher(auth.HasherOptions{Params: auth.Params{Memory: 64, Time: 2, Threads: 1}})
	tests := []struct {
		name, phc string
		want      bool
	}{
		{"the same", made(auth.Params{Memory: 64, Time: 2, Threads: 1}), false},
		{"less memory", made(auth.Params{Memory: 32, Time: 2, Threads: 1}), true},
		{"fewer passes", made(auth.Params{Memory: 64, Time: 1, Threads: 1}), true},
		{"as much in another way", made(auth.Params{Memory: 128, Time: 1, Threads: 1}), false},
		{"more", made(auth.Params{Memory: 128, Time: 2, Threads: 1}), false},
		{"none", "", false},
	}
	for _, tt := range tests {
		if got := h.Outdated(tt.phc); got != tt.want {
			t.Errorf("%s: Outdated = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// However many logins come at once, few hashes take memory at one time.
func TestHasherBoundsMemory(t *testing.T) {
	const memory, concurrent = 8 << 10, 2 // KiB
	h := auth.NewHasher(auth.HasherOptions{Concurrent: concurrent, Params: auth.Params{Memory: memory, Time: 1, Threads: 1}, Wait: time.Hour})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		most, tick := uint64(0), time.NewTicker(5*time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				peak <- most
				return
			case <-tick.C:
				runtime.ReadMemStats(&after)
				most = max(most, after.HeapInuse)
			}
		}
	}()
	errs := make(chan error)
	const logins = 100
	for range logins {
		go func() {
			_, err := h.Hash(t.Context(), "", []byte("correct horse"))
			errs <- err
		}()
	}
	for range logins {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	close(stop)
	grown := int64(<-peak) - int64(before.HeapInuse)
	t.Logf("%d logins at once took %d MiB", logins, grown>>20)
	// Two are in use. What was freed stays until the collector has seen it, the
	// later the busier the machine is; all at once would take 800 MiB.
	if limit := int64(logins * memory << 10 / 4); grown > limit {
		t.Errorf("%d logins at once took %d MiB, want %d at most", logins, grown>>20, limit>>20)
	}
}
