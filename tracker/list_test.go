package tracker_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/roster"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

func hasTrackers(n int) func(*pb.Event) bool {
	return func(e *pb.Event) bool { return len(e.GetRoster().GetTrackers()) == n }
}

// A tracker that is added while the others serve catches up, and then is one
// of them: clients are told of it, and their sessions count there.
func TestTrackerAdded(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 3)
	all := w.cfg[0].Trackers
	w.cfg[0].Trackers, w.cfg[1].Trackers = all[:2], all[:2]
	w.cfg[2].NewNetwork = protocol.NetworkID{}
	w.start(1, 2)
	ada := w.client(1).Enter("ada")
	ada.CreateGroup("g")
	events := ada.Attach()
	events.Expect("of the two trackers", hasTrackers(2))

	for n := 1; n <= 2; n++ {
		if err := w.run[n-1].SetTrackers(all); err != nil {
			t.Fatal(err)
		}
		w.cfg[n-1].Trackers = all
	}
	events.Expect("of the third tracker", hasTrackers(3))
	w.start(3)
	w.together()
	groups, err := ada.Use(w.at(3)).Groups()
	if err != nil || len(groups) != 1 {
		t.Errorf("groups at the tracker that was added: %v, %v", groups, err)
	}
	if r, err := tt.Do(ada, ada.At().CreateGroup, &pb.CreateGroupRequest{Name: "h", Nonce: tt.Nonce()}); err != nil ||
		r.GetStored().GetStoredOn() != 2 || r.GetStored().GetTrackers() != 3 {
		t.Errorf("CreateGroup = %v, %v, want stored on 2 of 3", r, err)
	}
}

// A tracker that is removed is a stranger: it hears nothing more and its
// signature does not count. What it wrote stays, also after a restart.
func TestTrackerRemoved(t *testing.T) {
	t.Parallel()
	w := connected(t, 3)
	all := w.cfg[0].Trackers
	ada, bob := w.client(1).Enter("ada"), w.client(3).Enter("bob")
	bob.CreateGroup("made at 3")
	w.until("bob is known everywhere", func() bool {
		_, err := bob.Use(w.at(1)).Groups()
		return err == nil && w.run[0].Status().Groups == 1 && w.run[1].Status().Groups == 1
	})
	stream := bob.Attach()

	for n := 1; n <= 2; n++ {
		if err := w.run[n-1].SetTrackers(all[:2]); err != nil {
			t.Fatal(err)
		}
		w.cfg[n-1].Trackers = all[:2]
	}
	wantCode(t, "the stream of a session signed by the removed one", stream.Err(), protocol.CodeBusy)
	ada.Attach().Expect("of the two that are left", hasTrackers(2))
	w.until("all know who is left", func() bool {
		return w.run[0].Status().Connected == 2 && w.run[0].Status().Trackers == 2 && w.run[2].Status().Connected == 1
	})
	_, err := bob.Groups()
	wantCode(t, "the session signed by the removed one", err, protocol.CodeSession)
	ada.CreateGroup("made at 1")
	if n := w.run[2].Status().Groups; n != 1 {
		t.Errorf("the removed tracker knows %d groups, want 1", n)
	}

	w.stop(1)
	w.start(1)
	if err := bob.Login("bob", tt.Password); err != nil {
		t.Fatal(err)
	}
	groups, err := bob.Groups()
	if err != nil || len(groups) != 2 {
		t.Errorf("groups after a restart: %v, %v, want both", groups, err)
	}
}

// A tracker whose own line is gone serves nothing, and is no second disk for
// anybody, but takes what those who still know it write. Once its line is back it
// goes on.
func TestOwnLineGone(t *testing.T) {
	t.Parallel()
	w := connected(t, 2)
	all := w.cfg[0].Trackers
	ada, bob := w.client(1).Enter("ada"), w.client(2).Enter("bob")
	stream := ada.Attach()
	if err := w.run[0].SetTrackers(all[1:]); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "the stream at it", stream.Err(), protocol.CodeBusy)
	_, err := ada.Groups()
	wantCode(t, "a call at it", err, protocol.CodeBusy)
	if s := w.run[0].Status(); s.Serving || !strings.Contains(s.Reason, "no longer in the list of trackers; end it") ||
		s.Connected != 1 || s.Trackers != 1 {
		t.Errorf("its status is %+v", s)
	}
	r, err := tt.Do(bob, bob.At().CreateGroup, &pb.CreateGroupRequest{Name: "g", Nonce: tt.Nonce()})
	if err != nil || r.GetStored().GetStoredOn() != 1 {
		t.Errorf("CreateGroup at the other one = %v, %v, want stored on 1", r, err)
	}
	w.until("it has the group", func() bool { return w.run[0].Status().Groups == 1 })
	if err := w.run[0].SetTrackers(all); err != nil {
		t.Fatal(err)
	}
	w.until("it serves again", func() bool {
		s := w.run[0].Status()
		return s.Serving && s.Connected == 2 && s.Trackers == 2
	})
	if _, err := ada.Groups(); err != nil {
		t.Errorf("a call at it, once its line is back: %v", err)
	}
}

// A list that a tracker cannot go on with changes nothing.
func TestSetTrackersRefuses(t *testing.T) {
	t.Parallel()
	w := connected(t, 2)
	all := w.cfg[0].Trackers
	changed := func(f func([]roster.Entry) []roster.Entry) []roster.Entry { return f(slices.Clone(all)) }
	for name, list := range map[string][]roster.Entry{
		"nothing":           nil,
		"own line moved":    changed(func(l []roster.Entry) []roster.Entry { l[0].Addr = l[1].Addr; return l }),
		"one without an id": changed(func(l []roster.Entry) []roster.Entry { l[1].ID = ""; return l }),
	} {
		wantCode(t, name, w.run[0].SetTrackers(list), protocol.CodeConfig)
		if s := w.run[0].Status(); s.Trackers != 2 || s.Connected != 2 {
			t.Errorf("%s: %d of %d trackers connected, want 2 of 2", name, s.Connected, s.Trackers)
		}
	}
	// The order of lines is nobody's name: one that moves up stays who it is.
	if err := w.run[1].SetTrackers(changed(func(l []roster.Entry) []roster.Entry { return []roster.Entry{l[1], l[0]} })); err != nil {
		t.Errorf("the same list in another order: %v", err)
	}
}
