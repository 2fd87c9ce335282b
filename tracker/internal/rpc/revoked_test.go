package rpc_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// toldRevoked attaches and counts the sessions that the beginning of the stream
// says have ended.
func toldRevoked(c *tt.Client) int {
	c.T.Helper()
	events := c.Attach()
	synced := events.Expect("of the present state", func(ev *pb.Event) bool { return ev.GetSynced() != nil })
	n := len(synced.GetSynced().GetRevokedSessions())
	if n > protocol.MaxElements {
		c.T.Errorf("%d elements in one message", n)
	}
	for _, ev := range events.Seen() {
		if ev.GetSessionRevoked() != nil {
			n++
		}
		if ev == synced {
			break
		}
	}
	return n
}

// However many sessions have ended of late, a seeder hears of each.
func TestAllEndedSessionsAreTold(t *testing.T) {
	w := newWorld(t, options{})
	ada, bob, _ := pair(w)
	user := protocol.UserID(bob.User)
	const n = protocol.MaxElements + 200
	_, err := w.replica.Propose(t.Context(), replica.Proposal{Build: func(*catalog.Catalog) (ds []catalog.Draft, _ error) {
		for i := range n {
			id := protocol.SessionID{15: 1}
			binary.BigEndian.PutUint32(id[:], uint32(i))
			ds = append(ds, catalog.RevokeSession(id, user, time.Now().Add(time.Hour).UnixMilli())...)
		}
		return ds, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	// The service looks at news a moment after they are stored.
	deadline := time.Now().Add(tt.Timeout)
	got := toldRevoked(ada)
	for got != n && time.Now().Before(deadline) {
		got = toldRevoked(ada)
	}
	if got != n {
		t.Errorf("told of %d ended sessions, want %d", got, n)
	}
}

// What counts is when this tracker learned of the end, not when it was: until
// then it gave tickets.
func TestNewsOfAnEarlierEndAreTold(t *testing.T) {
	w := newWorld(t, options{now: func() time.Time { return time.Now().Add(time.Hour) }})
	ada, bob, _ := pair(w)
	first := ada.Attach()
	if _, err := tt.Do(bob, bob.At().Logout, &pb.LogoutRequest{}); err != nil {
		t.Fatal(err)
	}
	first.Expect("that bob's session has ended", func(ev *pb.Event) bool { return ev.GetSessionRevoked() != nil })
	if n := toldRevoked(ada); n != 1 {
		t.Errorf("told of %d ended sessions, want 1", n)
	}
}
