package trackers_test

import (
	"slices"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

func TestSessionEnds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		issued time.Duration // ago
		act    func(f *fake)
		want   any
	}{
		{name: "revoked by event", act: func(f *fake) {
			id := protocol.SessionID{2}
			f.push <- &pb.Event{Body: &pb.Event_SessionRevoked{SessionRevoked: &pb.SessionRevoked{SessionId: id[:]}}}
		}, want: trackers.LoggedOut{}},
		{name: "refused by a call", act: func(f *fake) { f.set(func() { f.revoked = true }) }, want: trackers.LoggedOut{}},
		{name: "expired and renewed", issued: 25 * time.Hour, act: func(f *fake) { f.set(func() { f.revoked = true }) }, want: trackers.Renewed{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			attached := make(chan *fake, 10)
			a := newFake(t, attached)
			u := newUser(t, nil, a.entry(1))
			if err := u.SetSession(sealed(t, a.key, u.host.ID(), time.Now().Add(-test.issued)), network); err != nil {
				t.Fatal(err)
			}
			if _, renewed := test.want.(trackers.Renewed); renewed {
				test.act(a)
				if _, err := u.createGroup(t); err != nil {
					t.Errorf("the call failed: %v", err)
				}
				u.Run()
				await[trackers.Renewed](t, u)
				return
			}
			u.Run()
			awaitFake(t, attached)
			await[trackers.Attached](t, u)
			test.act(a)
			_, _ = u.createGroup(t) // in one case this is what fails
			await[trackers.LoggedOut](t, u)
			if _, ok := u.Session(); ok {
				t.Error("the session is still in use")
			}
		})
	}
}

func TestSessionIsRenewedAtHalfLife(t *testing.T) {
	t.Parallel()
	a := newFake(t, nil)
	u := newUser(t, nil, a.entry(1))
	if err := u.SetSession(sealed(t, a.key, u.host.ID(), time.Now().Add(-13*time.Hour)), network); err != nil {
		t.Fatal(err)
	}
	u.Run()
	if r := await[trackers.Renewed](t, u); r.Name != "ann" || len(r.Envelope) == 0 {
		t.Errorf("got %+v", r)
	}
}

func TestLogoutIsToldWhenATrackerIsBack(t *testing.T) {
	t.Parallel()
	a := newFake(t, nil)
	u := newUser(t, nil, a.entry(1))
	if err := u.SetSession(sealed(t, a.key, u.host.ID(), time.Now()), network); err != nil {
		t.Fatal(err)
	}
	a.stop()
	u.Run()
	if err := u.ClearSession(true); err != nil {
		t.Fatal(err)
	}
	if _, ok := u.Session(); ok {
		t.Fatal("still logged in")
	}
	if p, _ := u.store.Pending(); len(p) != 1 {
		t.Fatalf("%d logouts remembered, want 1", len(p))
	}
	a.start(a.addr.String())
	if _, err := u.TellLogouts(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if p, _ := u.store.Pending(); a.logouts == 0 || len(p) != 0 {
		t.Errorf("%d told, %d left", a.logouts, len(p))
	}
	if slices.Contains(a.sessions[slices.Index(a.calls, pb.TrackerServiceLogoutProcedure):], "") && a.logouts == 0 {
		t.Error("a logout came without its session")
	}
}
