package presence_test

import (
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
)

// Where a session's client was last is known at every tracker that heard of its
// lease, and of no other user's.
func TestSightings(t *testing.T) {
	first, second := newTracker(), newTracker()
	ada, bob := protocol.UserID{1}, protocol.UserID{2}
	desk, phone, lost := protocol.SessionID{1}, protocol.SessionID{2}, protocol.SessionID{3}
	sync := func() { second.Apply("first", first.Local()) }
	token := first.Open(presence.Lease{Peer: "desk", User: ada, Session: desk})
	first.Open(presence.Lease{Peer: "phone", User: ada, Session: phone})
	sync()
	ids := []protocol.SessionID{desk, phone, lost}
	for _, tr := range []*tracker{first, second} {
		got := tr.Sightings(ada, ids)
		if !got[desk].Online || !got[phone].Online || got[lost].Online || !got[lost].Last.IsZero() {
			t.Errorf("sightings %+v, want desk and phone online", got)
		}
		if got := tr.Sightings(bob, ids); got[desk].Online {
			t.Errorf("another user's are told: %+v", got)
		}
	}
	first.Close("desk", token)
	first.clock.pass(presence.DefaultLife)
	second.clock.pass(presence.DefaultLife)
	first.Sweep()
	sync()
	gone := first.clock.read()
	first.clock.pass(time.Hour)
	second.clock.pass(time.Hour)
	for _, tr := range []*tracker{first, second} {
		if got := tr.Sightings(ada, ids)[desk]; got.Online || !got.Last.Equal(gone) {
			t.Errorf("desk %+v, want gone at %v", got, gone)
		}
	}
	first.Saw(desk)
	if got := first.Sightings(ada, ids)[desk]; got.Online || !got.Last.Equal(first.clock.read()) {
		t.Errorf("after a call of desk: %+v", got)
	}
}
