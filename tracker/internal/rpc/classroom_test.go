package rpc_test

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
)

// TestLongClassroom lets 100 clients behind one address make their accounts and
// log in at once, with hashes that cost what they do in use. All are in within
// a minute, by doing what the tracker says when it is busy.
func TestLongClassroom(t *testing.T) {
	if os.Getenv("P2PSHARE_LONG") == "" {
		t.Skip("half a minute of hashing: set P2PSHARE_LONG=1; TestClassroom does the same with cheap hashes")
	}
	const clients = 100
	w := newWorld(t, options{realHashes: true})
	begun := time.Now()
	errs := make(chan error, clients)
	for i := range clients {
		c, name := w.client(), fmt.Sprintf("student%d", i)
		go func() {
			errs <- errors.Join(
				patiently(func() error { return c.Register(name) }),
				patiently(func() error { return c.Login(name, "correct horse") }))
		}()
	}
	for range clients {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	took := time.Since(begun)
	t.Logf("%d clients were in after %v", clients, took.Round(100*time.Millisecond))
	// A machine that is busy with other things is slow at hashing, too.
	h := auth.NewHasher(auth.HasherOptions{})
	const sample = 10
	begun = time.Now()
	for range sample {
		if _, err := h.Hash(t.Context(), "", []byte("correct horse")); err != nil {
			t.Fatal(err)
		}
	}
	hashes := 2 * clients * time.Since(begun) / sample
	t.Logf("as many hashes one behind another: %v", hashes.Round(100*time.Millisecond))
	if took > max(time.Minute, 4*hashes) {
		t.Errorf("%d clients took %v, want a minute at most", clients, took)
	}
}

// patiently repeats a call while the tracker says that it is busy, as it says.
func patiently(call func() error) error {
	for begun := time.Now(); ; {
		err := call()
		e, ok := errors.AsType[*protocol.Error](err)
		if !ok || e.Code != protocol.CodeBusy || time.Since(begun) > time.Minute {
			return err
		}
		<-time.After(e.RetryAfter)
	}
}
