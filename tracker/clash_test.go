package tracker_test

import (
	"bytes"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// Two people take one name while the trackers do not see each other: nobody
// gets into the other's account, and the later one is told of the new name.
func TestNamesTakenOnBothSides(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 2)
	w.start(1)
	first := w.client(1).Enter("bob")
	first.CreateGroup("g")
	w.stop(1)
	w.start(2)
	second := w.client(2)
	if _, err := tt.Do(second, second.At().Register, &pb.RegisterRequest{Name: "bob", Password: "battery staple", Nonce: tt.Nonce()}); err != nil {
		t.Fatal(err)
	}
	if err := second.Login("bob", "battery staple"); err != nil {
		t.Fatal(err)
	}
	second.CreateGroup("G")
	events := second.Attach()

	w.start(1)
	w.together()
	user := events.Expect("of the new name", func(e *pb.Event) bool { return e.GetRenamed().GetKind() == "user" }).GetRenamed()
	if user.GetOldName() != "bob" || user.GetNewName()[:4] != "bob~" {
		t.Errorf("renamed %v", user)
	}
	group := events.Expect("of the group's new name", func(e *pb.Event) bool { return e.GetRenamed().GetKind() == "group" }).GetRenamed()
	if group.GetOldName() != "G" || group.GetNewName()[:2] != "G~" {
		t.Errorf("renamed %v", group)
	}

	for n := 1; n <= 2; n++ {
		c := w.client(n)
		wantCode(t, "the later one by the bare name", c.Login("bob", "battery staple"), protocol.CodeAuth)
		_, err := tt.Do(c, c.At().Login, &pb.LoginRequest{Name: "bob", Password: "battery staple", UserId: second.User})
		wantCode(t, "with the id that the client knows", err, protocol.CodeRenamed)
		if err := c.Login(user.GetNewName(), "battery staple"); err != nil || !bytes.Equal(c.User, second.User) {
			t.Errorf("by the new name at tracker %d: %v", n, err)
		}
		if err := c.Login("bob", tt.Password); err != nil || !bytes.Equal(c.User, first.User) {
			t.Errorf("the first one at tracker %d: %v", n, err)
		}
	}
	_, err := tt.Do(second, second.At().ListMembers, &pb.GroupRequest{Group: tt.Group("G")})
	wantCode(t, "the bare group name means the other group", err, protocol.CodeNotMember)
	if _, err := tt.Do(second, second.At().ListMembers, &pb.GroupRequest{Group: tt.Group(group.GetNewName())}); err != nil {
		t.Errorf("by the new name: %v", err)
	}
}

// A password changed at one tracker ends the stream at another one, so that the
// client comes back with what it has; another client of the user is out.
func TestPasswordChangedElsewhere(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 2)
	w.start(1, 2)
	w.together()
	ada := w.client(1).Enter("ada")
	w.until("the session counts at tracker 2", func() bool {
		_, err := tt.Do(ada.Use(w.at(2)), ada.At().ListGroups, &pb.ListGroupsRequest{})
		return err == nil
	})
	phone := w.client(1)
	if err := phone.Login("ada", tt.Password); err != nil {
		t.Fatal(err)
	}
	own, other := ada.Use(w.at(1)).Attach(), phone.Attach()
	r, err := tt.Do(ada.Use(w.at(2)), ada.At().ChangePassword, &pb.ChangePasswordRequest{OldPassword: tt.Password, NewPassword: "battery staple"})
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "the other client's stream", other.Err(), protocol.CodeSession)
	wantCode(t, "the stream of the one who changed it", own.Err(), protocol.CodeBusy)
	ada.Session = r.GetSession()
	ada.Use(w.at(1)).Attach()
}
