package rpc

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

// A user has one place at a time, however many calls wait for more, and no call
// waits for long.
func TestPlacesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces()
		take := func(u byte) protocol.Code {
			until, err := p.take(t.Context(), protocol.UserID{u})
			if err == nil && until != time.Now().Add(placeLife) {
				t.Errorf("may be kept until %v", until)
			}
			return protocol.CodeOf(err)
		}
		if code := take(1); code != "" {
			t.Fatalf("the first place: %s", code)
		}
		began := time.Now()
		if code := take(1); code != protocol.CodeBusy || time.Since(began) != placeWait {
			t.Errorf("a second place for one user: %q after %v", code, time.Since(began))
		}
		for u := byte(2); u <= placeCount; u++ {
			if code := take(u); code != "" {
				t.Errorf("a place for user %d: %s", u, code)
			}
		}
		if code := take(9); code != protocol.CodeBusy {
			t.Errorf("one more than there are: %q", code)
		}
		for _, u := range []byte{9, 1} {
			waiting := make(chan protocol.Code, 1)
			go func() { waiting <- take(u) }()
			synctest.Wait()
			p.give(protocol.UserID{1})
			if code := <-waiting; code != "" {
				t.Errorf("user %d once there is a place: %s", u, code)
			}
			p.give(protocol.UserID{u})
			take(1)
		}
	})
}
