package rpc_test

import (
	"slices"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

func TestAttachTellsThePresentState(t *testing.T) {
	w := newWorld(t, options{})
	ada, bob, _ := pair(w)
	ada.CreateGroup("mine")
	events := bob.Attach()
	var groups, rosters int
	// What is pushed behind the state may tell the same once more.
	seen := events.Seen()
	state := slices.IndexFunc(seen, func(e *pb.Event) bool { return e.GetSynced() != nil })
	for _, e := range seen[:state+1] {
		switch {
		case e.GetGroupState() != nil:
			groups++
			g := e.GetGroupState()
			if g.GetName() != "g" || g.GetRole() != "member" || len(g.GetMembers()) != 2 || g.GetAsOf().GetWallMs() == 0 {
				t.Errorf("GroupState = %v", g)
			}
		case e.GetRoster() != nil:
			rosters++
			if l := e.GetRoster().GetTrackers(); len(l) != 1 || !l[0].GetConnected() || l[0].GetPeerId() != w.info.ID.String() {
				t.Errorf("Roster = %v", l)
			}
		case e.GetSynced() != nil:
			if e.GetSynced().GetUser() != "bob" || e.GetSynced().GetTrackers() != 1 {
				t.Errorf("Synced = %v", e.GetSynced())
			}
		}
	}
	if groups != 1 || rosters != 1 {
		t.Errorf("%d groups and %d rosters, want one each", groups, rosters)
	}
}

func TestPushesToThoseConcerned(t *testing.T) {
	w := newWorld(t, options{})
	ada, bob, carol := w.user("ada"), w.user("bob"), w.user("carol")
	a, b, c := ada.Attach(), bob.Attach(), carol.Attach()
	ada.CreateGroup("g")
	a.Expect("of the new group", func(e *pb.Event) bool { return e.GetGroupState().GetRole() == "owner" })

	if err := bob.Join("g"); err != nil {
		t.Fatal(err)
	}
	a.Expect("that bob asks", func(e *pb.Event) bool {
		r := e.GetJoinRequested()
		return r.GetGroup() == "g" && r.GetUser() == "bob"
	})
	if err := ada.Answer("g", "bob", true); err != nil {
		t.Fatal(err)
	}
	b.Expect("of his new group", func(e *pb.Event) bool { return len(e.GetGroupState().GetMembers()) == 2 })
	for _, e := range []*tt.Events{a, b} {
		e.Expect("that bob is in", tt.Member("g", "bob", pb.MemberChange_KIND_ACCEPTED))
	}

	if _, err := ada.Share("g", tt.Manifest("notes.txt", 1, 1)); err != nil {
		t.Fatal(err)
	}
	b.Expect("of the new file", func(e *pb.Event) bool {
		f := e.GetFileAdded()
		return f.GetName() == "notes.txt" && f.GetUploader() == "ada" && f.GetSize() == protocol.MinPieceLength && f.GetGroup() == "g"
	})

	if err := carol.Join("g"); err != nil {
		t.Fatal(err)
	}
	if err := ada.Answer("g", "carol", false); err != nil {
		t.Fatal(err)
	}
	c.Expect("that the answer is no", tt.Member("g", "carol", pb.MemberChange_KIND_REFUSED))

	if _, err := tt.Do(ada, ada.At().TransferGroup, &pb.MemberRequest{Group: tt.Group("g"), User: tt.User("bob")}); err != nil {
		t.Fatal(err)
	}
	for _, e := range []*tt.Events{a, b} {
		e.Expect("that bob owns the group", tt.Member("g", "bob", pb.MemberChange_KIND_OWNER))
	}
	if err := bob.Remove("g", "ada"); err != nil {
		t.Fatal(err)
	}
	for _, e := range []*tt.Events{a, b} {
		e.Expect("that ada is out", tt.Member("g", "ada", pb.MemberChange_KIND_REMOVED))
	}

	// Whatever carol was told besides, it was nothing of what is inside the group.
	for _, e := range c.Seen() {
		if e.GetFileAdded() != nil || e.GetJoinRequested() != nil || e.GetGroupState() != nil ||
			e.GetMember() != nil && e.GetMember().GetUser() != "carol" {
			t.Errorf("carol, no member, was told %v", e)
		}
	}
}

// The owner who leaves hands over, and members hear who owns the group now.
func TestPushOfInheritance(t *testing.T) {
	w := newWorld(t, options{})
	ada, bob, _ := pair(w)
	events := bob.Attach()
	if err := ada.Leave("g"); err != nil {
		t.Fatal(err)
	}
	events.Expect("that ada is out", tt.Member("g", "ada", pb.MemberChange_KIND_REMOVED))
	events.Expect("that bob owns the group", tt.Member("g", "bob", pb.MemberChange_KIND_OWNER))
}

func TestLogoutIsPushed(t *testing.T) {
	w := newWorld(t, options{})
	ada, bob, _ := pair(w)
	eve := w.user("eve")
	a, b, e := ada.Attach(), bob.Attach(), eve.Attach()
	if _, err := tt.Do(bob, bob.At().Logout, &pb.LogoutRequest{}); err != nil {
		t.Fatal(err)
	}
	revoked := func(ev *pb.Event) bool { return string(ev.GetSessionRevoked().GetUserId()) == string(bob.User) }
	a.Expect("that bob's session has ended", revoked)
	wantCode(t, "bob's own stream", b.Err(), protocol.CodeSession)
	late := ada.Attach() // who attaches now is told as well
	synced := late.Expect("of the present state", func(ev *pb.Event) bool { return ev.GetSynced() != nil })
	if n := len(synced.GetSynced().GetRevokedSessions()); n != 1 {
		t.Errorf("Synced names %d ended sessions, want 1", n)
	}
	eve.CreateGroup("h")
	e.Expect("of her own group", func(ev *pb.Event) bool { return ev.GetGroupState() != nil })
	for _, ev := range e.Seen() {
		if revoked(ev) {
			t.Error("eve, who shares no group with bob, was told of his logout")
		}
	}
}

func TestOnlyTheNewestStreamLives(t *testing.T) {
	w := newWorld(t, options{})
	ada := w.user("ada")
	first := ada.Attach()
	second := ada.Attach()
	wantCode(t, "the first stream", first.Err(), protocol.CodeLocked)
	ada.CreateGroup("g")
	second.Expect("of the group", func(e *pb.Event) bool { return e.GetGroupState() != nil })
}

func TestCloseEndsStreams(t *testing.T) {
	w := newWorld(t, options{})
	ada := w.user("ada")
	events := ada.Attach()
	if err := w.server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := events.Err(); err == nil {
		t.Error("the stream ended without a reason")
	}
}

func TestActivityLog(t *testing.T) {
	w := newWorld(t, options{})
	ada, bob, _ := pair(w)
	if _, err := ada.Share("g", tt.Manifest("notes.txt", 1, 1)); err != nil {
		t.Fatal(err)
	}
	if err := bob.Remove("g", "ada"); err == nil {
		t.Fatal("bob removed the owner")
	}
	wantCode(t, "a wrong password", w.client().Login("ada", "wrong horse\x1b"), protocol.CodeAuth)
	type line struct{ what, user, group, object, result string }
	want := []line{
		{"create_user", "ada", "", "", "ok"},
		{"login", "ada", "", "", "ok"},
		{"create_group", "ada", "g", "", "ok"},
		{"join_group", "bob", "g", "", "ok"},
		{"accept_request", "ada", "g", "bob", "ok"},
		{"upload_file", "ada", "g", "notes.txt", "ok"},
		{"remove_member", "bob", "g", "ada", "E_FORBIDDEN"},
		{"login", "ada", "", "", "E_AUTH"},
	}
	got := make(map[line]bool)
	for _, a := range w.activity() {
		if a.Peer == "" || a.Time.IsZero() {
			t.Errorf("a line without peer or time: %+v", a)
		}
		got[line{a.What, a.User, a.Group, a.Object, a.Result}] = true
	}
	for _, l := range want {
		if !got[l] {
			t.Errorf("no line %+v in %v", l, got)
		}
	}
}

// Strangers cannot fill the log.
func TestActivityLogIsBounded(t *testing.T) {
	w := newWorld(t, options{})
	eve := w.client()
	for range 200 {
		if _, err := eve.Groups(); err == nil {
			t.Fatal("a stranger lists groups")
		}
	}
	if n := len(w.activity()); n > 30 {
		t.Errorf("%d lines of one stranger, want at most 30", n)
	}
}

// A flood of changes, as when the tracker catches up with another, is not
// looked at one by one: clients come back and get the state.
func TestFloodOfChangesEndsStreams(t *testing.T) {
	w := newWorld(t, options{})
	ada := w.user("ada")
	events := ada.Attach()
	w.server.FactsChanged(make([]catalog.Fact, 60_000))
	wantCode(t, "the stream", events.Err(), protocol.CodeBusy)
	again := ada.Attach()
	ada.CreateGroup("g")
	again.Expect("of the group", func(e *pb.Event) bool { return e.GetGroupState() != nil })
}
