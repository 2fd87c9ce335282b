package trackers_test

import (
	"path/filepath"
	"testing"

	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// TestIntroduce has two trackers listed without an id that name each other: one
// question is enough, and neither is listed twice.
func TestIntroduce(t *testing.T) {
	t.Parallel()
	a, b := newFake(t, nil), newFake(t, nil)
	for _, f := range []*fake{a, b} {
		for _, o := range []*fake{a, b} {
			f.roster = append(f.roster, &pb.TrackerInfo{PeerId: o.host.ID().String(), Addrs: []string{o.addr.String()}})
		}
	}
	pins, asked := filepath.Join(t.TempDir(), "known_trackers"), 0
	u := newUser(t, func(c *trackers.Config) {
		c.PinFile = pins
		c.Confirm = func(string, string) bool { asked++; return true }
	}, a.bare(1), b.bare(2))
	if l := u.List(t.Context()); len(l) != 2 || l[0].Err == nil || asked != 0 {
		t.Errorf("before: %+v, asked %d times", l, asked)
	}
	u.Introduce(t.Context())
	if !u.Trusted(a.host.ID()) || !u.Trusted(b.host.ID()) || asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	l := u.List(t.Context())
	if len(l) != 2 || l[0].Address != a.bare(1).Text || l[1].Address != b.bare(2).Text || l[0].Err != nil || l[1].Err != nil || l[1].Number != 2 {
		t.Errorf("afterwards: %+v", l)
	}

	// One whose line is confirmed while all are listed is no third.
	again := newUser(t, func(c *trackers.Config) { c.PinFile = filepath.Join(t.TempDir(), "known_trackers") }, a.entry(1), b.bare(2))
	if _, err := again.createGroup(t); err != nil {
		t.Fatal(err)
	}
	if l := again.List(t.Context()); len(l) != 2 || l[1].Address != b.bare(2).Text {
		t.Errorf("a bare line and what it turned out to be: %+v", l)
	}
}

func TestIntroduceTakesNoForAnAnswer(t *testing.T) {
	t.Parallel()
	a := newFake(t, nil)
	asked := 0
	u := newUser(t, func(c *trackers.Config) {
		c.PinFile = filepath.Join(t.TempDir(), "known_trackers")
		c.Confirm = func(string, string) bool { asked++; return false }
	}, a.bare(1))
	for range 2 {
		u.Introduce(t.Context())
	}
	if u.Trusted(a.host.ID()) || asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.calls) != 0 {
		t.Errorf("an unconfirmed tracker got %v", a.calls)
	}
}
