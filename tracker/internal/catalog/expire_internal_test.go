package catalog

import (
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
)

// A session is scheduled once for each end it was given, however often it is written.
func TestSessionIsScheduledOnce(t *testing.T) {
	c, end := New(), int64(1_000_000)
	write := func(wall, until int64) {
		t.Helper()
		d := NewSession(protocol.UserID{1}, Session{ID: protocol.SessionID{2}, Until: until, Client: "client"})[0]
		stamp := protocol.Stamp{Wall: wall, Origin: "A"}
		if changed, err := c.Merge(Fact{Key: d.Key, Value: d.Value, Stamp: stamp}); err != nil || !changed {
			t.Fatalf("Merge = %v, %v", changed, err)
		}
	}
	for wall := range int64(100) {
		write(wall+1, end)
	}
	if len(c.expiry) != 1 {
		t.Errorf("%d entries for one session, want 1", len(c.expiry))
	}
	write(200, end+1000) // a later end is scheduled too
	if dropped := c.Expire(end + renewSlack + dropDelay); len(dropped) != 0 {
		t.Errorf("dropped at its former end")
	}
	if dropped := c.Expire(end + 1000 + renewSlack + dropDelay); len(dropped) != 1 || len(c.expiry) != 0 {
		t.Errorf("%d dropped, %d entries left, want 1 and none", len(dropped), len(c.expiry))
	}
}
