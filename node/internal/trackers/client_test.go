package trackers_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/internal/promise"
	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

func TestCallGoesOnElsewhereAsTheSameRequest(t *testing.T) {
	t.Parallel()
	a, b := newFake(t, nil), newFake(t, nil)
	u := newUser(t, nil, a.entry(1), b.entry(2))
	res, err := u.createGroup(t)
	if err != nil {
		t.Fatal(err)
	}
	first, second := a, b
	if res.GetUser() == b.host.ID().String() {
		first, second = b, a
	}
	if again, err := u.createGroup(t); err != nil || again.GetUser() != res.GetUser() {
		t.Errorf("the second call went elsewhere: %v, %v", again, err)
	}

	first.set(func() { first.fail = failed(protocol.ErrBusy) })
	if res, err = u.createGroup(t); err != nil || res.GetUser() != second.host.ID().String() {
		t.Fatalf("busy: got %v, %v", res, err)
	}
	if one, two := first.nonces[len(first.nonces)-1], second.nonces[len(second.nonces)-1]; one != two {
		t.Error("the repeated request has another nonce")
	}

	first.set(func() { first.fail = failed(protocol.Errorf(protocol.CodeExists, "the name is taken")) })
	_, err = u.createGroup(t)
	wantCode(t, err, protocol.CodeExists)

	first.stop()
	began := time.Now()
	if res, err = u.createGroup(t); err != nil || res.GetUser() != second.host.ID().String() {
		t.Fatalf("after a crash: got %v, %v", res, err)
	}
	if took := time.Since(began); took > promise.Within(5*time.Second) {
		t.Errorf("fail-over took %v", took)
	}
	second.stop()
	began = time.Now()
	_, err = u.createGroup(t)
	wantCode(t, err, protocol.CodeNoTracker)
	if took := time.Since(began); took > promise.Within(5*time.Second) {
		t.Errorf("giving up took %v", took)
	}
	for _, f := range []*fake{first, second} {
		if !strings.Contains(err.Error(), f.addr.String()) {
			t.Errorf("%q does not name %s", err, f.addr)
		}
	}
}

func TestRestartedTrackerIsReachedAgain(t *testing.T) {
	t.Parallel()
	a := newFake(t, nil)
	u := newUser(t, nil, a.entry(1))
	if _, err := u.createGroup(t); err != nil {
		t.Fatal(err)
	}
	a.stop()
	a.start(a.addr.String())
	if _, err := u.createGroup(t); err != nil {
		t.Fatalf("after the restart: %v", err)
	}
}

func TestTrackerThatDoesNotServeIsPassedOver(t *testing.T) {
	t.Parallel()
	a := newFake(t, nil)
	a.notReady = true
	u := newUser(t, nil, a.entry(1))
	_, err := u.createGroup(t)
	wantCode(t, err, protocol.CodeNoTracker)
	if !strings.Contains(err.Error(), "catching up") {
		t.Errorf("%q does not say why", err)
	}
	infos := u.List(t.Context())
	if len(infos) != 1 || !strings.Contains(infos[0].Reason(), "catching up") {
		t.Errorf("listed as %+v", infos)
	}
	a.set(func() { a.notReady = false })
	if _, err := u.createGroup(t); err != nil {
		t.Error(err)
	}
}

func TestStampsRiseAndClocksAreCompared(t *testing.T) {
	t.Parallel()
	a := newFake(t, nil)
	a.skew = 10 * time.Minute
	u := newUser(t, nil, a.entry(1))
	for range 2 {
		if _, err := u.createGroup(t); err != nil {
			t.Fatal(err)
		}
	}
	u.Run()
	if s := await[trackers.Skewed](t, u); s.By > -9*time.Minute || s.By < -11*time.Minute {
		t.Errorf("off by %v, want about -10m", s.By)
	}
	if got := time.Until(u.Now()); got < 9*time.Minute {
		t.Errorf("the corrected clock is %v ahead, want 10m", got)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stamps[0] != "" || a.stamps[len(a.stamps)-1] == "" {
		t.Errorf("stamps sent: %q", a.stamps)
	}
}

func TestTrackersOnesToldOf(t *testing.T) {
	t.Parallel()
	a, b, stray := newFake(t, nil), newFake(t, nil), newFake(t, nil)
	info := func(f *fake) *pb.TrackerInfo {
		return &pb.TrackerInfo{PeerId: f.host.ID().String(), Addrs: []string{f.addr.String()}}
	}
	a.roster = []*pb.TrackerInfo{info(a), info(b)}
	b.roster = []*pb.TrackerInfo{info(a), info(b), info(stray)}
	u := newUser(t, nil, a.entry(1))
	if u.Trusted(b.host.ID()) {
		t.Fatal("trusted before anybody named it")
	}
	if _, err := u.createGroup(t); err != nil {
		t.Fatal(err)
	}
	if !u.Trusted(b.host.ID()) || !u.Trusted(a.host.ID()) || u.Trusted(u.host.ID()) {
		t.Fatal("wrong trackers are trusted")
	}
	if l, _ := u.store.Learned(); len(l) != 1 {
		t.Errorf("remembered %v", l)
	}
	a.stop()
	if res, err := u.createGroup(t); err != nil || res.GetUser() != b.host.ID().String() {
		t.Fatalf("no fail-over to the learned one: %v", err)
	}
	if u.Trusted(stray.host.ID()) {
		t.Error("a learned tracker extended the list")
	}
	a.set(func() { a.roster = a.roster[:1] })
	a.start(a.addr.String())
	b.stop()
	if _, err := u.createGroup(t); err != nil {
		t.Fatal(err)
	}
	if l, _ := u.store.Learned(); u.Trusted(b.host.ID()) || len(l) != 0 {
		t.Errorf("not forgotten: %v", l)
	}
}

func TestConfirmation(t *testing.T) {
	t.Parallel()
	a := newFake(t, nil)
	pins := filepath.Join(t.TempDir(), "known_trackers")
	asked := 0
	with := func(confirm func(address, id string) bool) func(*trackers.Config) {
		return func(c *trackers.Config) { c.PinFile, c.Confirm = pins, confirm }
	}
	answer := func(yes bool) func(string, string) bool {
		return func(address, id string) bool {
			asked++
			if address != a.bare(1).Text || id != a.host.ID().String() {
				t.Errorf("asked about %s with %s", address, id)
			}
			return yes
		}
	}

	_, err := newUser(t, with(nil), a.bare(1)).createGroup(t)
	wantCode(t, err, protocol.CodeTrackerNew)
	_, err = newUser(t, with(answer(false)), a.bare(1)).createGroup(t)
	wantCode(t, err, protocol.CodeTrackerNew)
	a.mu.Lock()
	if len(a.calls) != 0 {
		t.Errorf("an unconfirmed tracker got %v", a.calls)
	}
	a.mu.Unlock()
	if _, err = newUser(t, with(answer(true)), a.bare(1)).createGroup(t); err != nil {
		t.Fatal(err)
	}
	if _, err = newUser(t, with(nil), a.bare(1)).createGroup(t); err != nil {
		t.Fatalf("not remembered: %v", err)
	}
	if asked != 2 {
		t.Errorf("asked %d times, want 2", asked)
	}

	a.stop()
	a.key = newKey(t)
	a.start(a.addr.String())
	calls := len(a.calls)
	_, err = newUser(t, with(answer(true)), a.bare(1)).createGroup(t)
	wantCode(t, err, protocol.CodeTrackerID)
	if !strings.Contains(err.Error(), "delete line 2 of "+pins) {
		t.Errorf("%q does not say what to do", err)
	}
	if len(a.calls) != calls {
		t.Error("something was sent to a tracker with a changed id")
	}
}

func TestClientsSpread(t *testing.T) {
	t.Parallel()
	a, b := newFake(t, nil), newFake(t, nil)
	used := map[string]bool{}
	for range 40 {
		u := newUser(t, nil, a.entry(1), b.entry(2))
		res, err := u.createGroup(t)
		if err != nil {
			t.Fatal(err)
		}
		used[res.GetUser()] = true
		_ = u.Close()
		_ = u.host.Close()
		if len(used) == 2 {
			return
		}
	}
	t.Error("40 clients chose the same tracker")
}
