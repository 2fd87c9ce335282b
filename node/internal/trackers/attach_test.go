package trackers_test

import (
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

func TestPushStream(t *testing.T) {
	t.Parallel()
	attached := make(chan *fake, 10)
	a, b := newFake(t, attached), newFake(t, attached)
	u := newUser(t, nil, a.entry(1), b.entry(2))
	envelope := sealed(t, a.key, u.host.ID(), time.Now())
	if err := u.SetSession(envelope, network); err != nil {
		t.Fatal(err)
	}
	group := protocol.GroupID{3}
	for i := range 700 {
		u.Offer(group, protocol.FileID{byte(i), byte(i >> 8)}, i%2 == 0)
	}
	u.Withdraw(group, protocol.FileID{1})
	u.Run()
	holder := awaitFake(t, attached)
	await[trackers.Attached](t, u)
	if err := u.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	check := func(f *fake) {
		t.Helper()
		eventually(t, "all offers told", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			zero := protocol.FileID{0}
			return len(f.offers) == 699 && f.offers[string(zero[:])]
		})
	}
	check(holder)
	for i := range byte(10) {
		holder.push <- &pb.Event{Body: &pb.Event_JoinRequested{JoinRequested: &pb.JoinRequested{User: string(rune('a' + i))}}}
	}
	var got []byte
	for range 10 {
		got = append(got, await[trackers.Pushed](t, u).Event.GetJoinRequested().GetUser()...)
	}
	if string(got) != "abcdefghij" {
		t.Errorf("events came as %q", got)
	}

	holder.set(func() { holder.silent = true })
	other := awaitFake(t, attached)
	if other == holder {
		t.Fatal("attached to the silent tracker again")
	}
	await[trackers.Detached](t, u)
	await[trackers.Attached](t, u)
	check(other)

	holder.set(func() { holder.silent = false })
	other.stop()
	if awaitFake(t, attached) != holder {
		t.Error("not back at the first")
	}
	holder.stop()
	if err := await[trackers.Lost](t, u).Err; protocol.CodeOf(err) != protocol.CodeNoTracker {
		t.Errorf("lost with %v", err)
	}
	other.start(other.addr.String())
	if awaitFake(t, attached) != other {
		t.Error("not attached to the one that is back")
	}
}

// A tracker that takes the lease and ends the stream soon is not attached to
// again and again without a pause; the first time may have been a restart.
func TestStreamsThatDoNotLast(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	f.ends = protocol.Errorf(protocol.CodeLocked, "another one has taken over")
	u := newUser(t, nil, f.entry(1))
	if err := u.SetSession(sealed(t, f.key, u.host.ID(), time.Now()), network); err != nil {
		t.Fatal(err)
	}
	u.Run()
	if err := await[trackers.Detached](t, u).Err; protocol.CodeOf(err) != protocol.CodeLocked {
		t.Errorf("detached with %v", err)
	}
	var opened []time.Time
	eventually(t, "three streams", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		opened = f.opened
		return len(opened) >= 3
	})
	if pause := opened[2].Sub(opened[1]); pause < 900*time.Millisecond {
		t.Errorf("the third stream came %v after the second", pause)
	}
}

// The push stream does not stay at a tracker that the network has dropped.
func TestStreamAtADroppedTrackerEnds(t *testing.T) {
	t.Parallel()
	attached := make(chan *fake, 10)
	a, b := newFake(t, attached), newFake(t, attached)
	a.notReady = true
	a.roster = []*pb.TrackerInfo{{PeerId: a.host.ID().String(), Addrs: []string{a.addr.String()}}}
	u := newUser(t, func(cfg *trackers.Config) {
		_ = cfg.Store.SetLearned(map[string][]string{b.host.ID().String(): {b.addr.String()}})
	}, a.entry(1))
	if err := u.SetSession(sealed(t, a.key, u.host.ID(), time.Now()), network); err != nil {
		t.Fatal(err)
	}
	u.Run()
	if awaitFake(t, attached) != b {
		t.Fatal("attached to the tracker that does not serve")
	}
	await[trackers.Attached](t, u)
	a.set(func() { a.notReady = false })
	b.set(func() { b.fail = failed(protocol.Errorf(protocol.CodeTrackerFull, "no room")) })
	if _, err := u.createGroup(t); err != nil {
		t.Fatal(err)
	}
	if awaitFake(t, attached) != a {
		t.Error("not attached to the tracker that is left")
	}
	if err := await[trackers.Detached](t, u).Err; protocol.CodeOf(err) != protocol.CodeNoTracker {
		t.Errorf("detached with %v", err)
	}
}

func TestRefusedOffersAreTold(t *testing.T) {
	t.Parallel()
	a := newFake(t, nil)
	a.refuse = true
	u := newUser(t, nil, a.entry(1))
	if err := u.SetSession(sealed(t, a.key, u.host.ID(), time.Now()), network); err != nil {
		t.Fatal(err)
	}
	u.Offer(protocol.GroupID{1}, protocol.FileID{2}, true)
	u.Run()
	if r := await[trackers.Refused](t, u); len(r.Offers) != 1 {
		t.Errorf("refused %v", r.Offers)
	}
	if err := u.Settle(t.Context()); err != nil {
		t.Error(err)
	}
}
