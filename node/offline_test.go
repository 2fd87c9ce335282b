package node_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/internal/promise"
	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestDownloadGoesOnWithoutTrackers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, seeding := w.stalling("ada")
	bob := w.user("bob")
	w.group("g", ada, bob)
	d := w.running(ada, bob)
	w.ok(w.trackers[0].Close())
	close(seeding.release)
	w.same(bob.finish(d), filepath.Join(w.folder("files"), "big.bin"))
	began := time.Now()
	_, err := bob.Download(t.Context(), "g", "big.bin", "")
	w.want(err, protocol.CodeNoTracker)
	if took := time.Since(began); took > promise.Within(5*time.Second) {
		t.Errorf("giving up took %v", took)
	}
	// The share that could not be told is told when the tracker is back.
	w.startTracker(1)
	w.awaitTracker(1)
	w.eventually("both are seeders", func() bool {
		files, err := ada.Files(t.Context(), "g")
		return err == nil && len(files) == 1 && files[0].Seeders == 2
	})
}

func TestLogoutWithoutTrackersIsToldLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, bob := w.user("ada"), w.user("bob")
	w.group("g", ada, bob)
	path := w.file("f.bin", 100_000)
	_, _, err := ada.Share(t.Context(), "g", path, nil)
	w.ok(err)
	w.ok(w.trackers[0].Close())
	w.ok(ada.Close())

	ada = w.node("ada") // the session goes on though no tracker is there
	if name, err := ada.User(); err != nil || name != "ada" {
		t.Fatalf("got %q, %v", name, err)
	}
	_, err = ada.Groups(t.Context())
	w.want(err, protocol.CodeNoTracker)
	st, err := ada.Logout(t.Context())
	w.ok(err)
	if st.On != 0 || st.Trackers != 1 {
		t.Errorf("a logout that no tracker heard of is stored on %d of %d", st.On, st.Trackers)
	}
	_, err = ada.User()
	w.want(err, protocol.CodeSession)
	w.ok(ada.Close())

	w.startTracker(1)
	w.awaitTracker(1)
	ada = w.node("ada")
	_, err = ada.User()
	w.want(err, protocol.CodeSession)
	ada.login("ada", "password of ada")
	shares, err := ada.Shares()
	w.ok(err)
	if len(shares) != 1 || shares[0].State != "sharing" || shares[0].Path != path {
		t.Errorf("after the login: %+v", shares)
	}
	w.same(bob.download("g", "f.bin"), path)
}

func TestLeavingEndsSharesAndOwnershipPasses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, bob := w.user("ada"), w.user("bob")
	w.group("g", ada, bob)
	_, _, err := ada.Share(t.Context(), "g", w.file("f.bin", 10), nil)
	w.ok(err)
	_, err = ada.LeaveGroup(t.Context(), "g")
	w.ok(err)
	shares, err := ada.Shares()
	w.ok(err)
	if len(shares) != 1 || shares[0].State != "stopped" {
		t.Errorf("shares %+v", shares)
	}
	members, err := bob.Members(t.Context(), "g")
	w.ok(err)
	if want := (node.Member{User: "bob", Role: "owner"}); len(members) != 1 || members[0] != want {
		t.Errorf("members %+v", members)
	}
	if already, err := ada.JoinGroup(t.Context(), "g"); err != nil || already.Already {
		t.Errorf("asking to come back: %+v, %v", already, err)
	}
	if again, err := ada.JoinGroup(t.Context(), "g"); err != nil || !again.Already {
		t.Errorf("asking twice: %+v, %v", again, err)
	}
	requests, err := bob.Requests(t.Context(), "g")
	w.ok(err)
	if len(requests) != 1 || requests[0] != "ada" {
		t.Errorf("requests %v", requests)
	}
	_, err = bob.RejectRequest(t.Context(), "g", "ada")
	w.ok(err)
	groups, err := ada.Groups(t.Context())
	w.ok(err)
	if want := (node.Group{Name: "g", Role: "none"}); len(groups) != 1 || groups[0] != want {
		t.Errorf("groups %+v", groups)
	}
}

func TestNamedTrackersAreConfirmed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	bare := w.entries[0].Addr.String()
	_, err := w.node("eve", node.WithTrackerEntries(), node.WithTrackers(bare)).CreateUser(t.Context(), "eve", "password of eve")
	w.want(err, protocol.CodeTrackerNew)
	asked := 0
	confirm := node.WithConfirm(func(address, id string) bool {
		asked++
		return address == bare && id == w.entries[0].ID.String()
	})
	ada := w.user("ada", node.WithTrackerEntries(), node.WithTrackers(bare), confirm)
	w.ok(ada.Close())
	ada = w.node("ada", node.WithTrackerEntries(), node.WithTrackers(bare))
	_, err = ada.Groups(t.Context())
	w.ok(err)
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	if infos := ada.Trackers(t.Context()); len(infos) != 1 || infos[0].Address != bare || infos[0].Number != 1 {
		t.Errorf("listed as %+v", infos)
	}
}
