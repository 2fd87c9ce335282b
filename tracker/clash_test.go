package tracker_test

import (
	"bytes"
	"slices"
	"strings"
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

// Two members share different files under one name while the trackers do not see
// each other: the later one is told of the new name, the same one everywhere.
func TestFileNameTakenOnBothSides(t *testing.T) {
	t.Parallel()
	w := connected(t, 2)
	ada, bob := w.client(1).Enter("ada"), w.client(2).Enter("bob")
	ada.CreateGroup("g")
	ada.LetIn("g", bob, "bob")
	w.stop(2)
	if _, err := ada.Share("g", tt.Manifest("Film.mkv", 1, 1)); err != nil {
		t.Fatal(err)
	}
	w.stop(1)
	w.start(2)
	bob.Use(w.at(2))
	if r, err := bob.Share("g", tt.Manifest("film.MKV", 1, 2)); err != nil || r.GetName() != "film.MKV" {
		t.Fatalf("share during the cut: %v, %v", r, err)
	}
	events := bob.Attach()

	w.start(1)
	w.together()
	file := events.Expect("of the file's new name", func(e *pb.Event) bool { return e.GetRenamed().GetKind() == "file" }).GetRenamed()
	if file.GetOldName() != "film.MKV" || !strings.HasPrefix(file.GetNewName(), "film.MKV~") {
		t.Errorf("renamed %v", file)
	}
	for n, c := range map[int]*tt.Client{1: ada, 2: bob} {
		c.Use(w.at(n))
		want := []string{"Film.mkv", file.GetNewName()}
		w.until("both names are shown", func() bool {
			r, err := tt.Do(c, c.At().ListFiles, &pb.ListFilesRequest{Group: tt.Group("g")})
			var names []string
			for _, f := range r.GetFiles() {
				names = append(names, f.GetName())
			}
			slices.Sort(names)
			return err == nil && slices.Equal(names, want)
		})
		// Either name means its own file, and no other.
		for name, by := range map[string]string{"Film.mkv": "ada", "film.mkv": "ada", file.GetNewName(): "bob"} {
			r, err := tt.Do(c, c.At().FindFile, &pb.FindFileRequest{Group: tt.Group("g"), Name: name})
			if err != nil || r.GetFile().GetUploader() != by {
				t.Errorf("%s at tracker %d is %v, %v, want the one of %s", name, n, r.GetFile(), err, by)
			}
		}
	}
}

// A password changed at one tracker ends the stream at another one, so that the
// client comes back with what it has; another client of the user is out.
func TestPasswordChangedElsewhere(t *testing.T) {
	t.Parallel()
	w := connected(t, 2)
	ada := w.client(1).Enter("ada")
	w.until("the session counts at tracker 2", func() bool {
		_, err := ada.Use(w.at(2)).Groups()
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
