package node_test

import (
	"context"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestRemovalStopsARunningDownload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, bob, d, release := w.midTransfer()
	_, err := ada.RemoveMember(t.Context(), "g", "bob")
	w.ok(err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err = d.Wait(ctx)
	w.want(err, protocol.CodeRevoked)
	if p := d.Progress(); p.State != node.Failed || p.Reason != protocol.CodeRevoked {
		t.Errorf("the download is %+v", p)
	}
	_, err = bob.Files(t.Context(), "g")
	w.want(err, protocol.CodeNotMember)

	release()
	w.join("g", ada, bob)
	w.same(bob.download("g", "big.bin"), w.source("big.bin"))
}

func TestLeavingEndsSharesAndOwnershipPasses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, bob := w.user("ada"), w.user("bob")
	w.group("g", ada, bob)
	ada.share("g", w.file("f.bin", 10))
	_, err := ada.LeaveGroup(t.Context(), "g")
	w.ok(err)
	if s := ada.onlyShare(); s.State != "stopped" {
		t.Errorf("the share is %+v", s)
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

// Why a share ended stays true when the user is a member again, and says what to do.
func TestShareOfAFormerMember(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, bob := w.user("ada"), w.user("bob")
	w.group("g", ada, bob)
	path := w.file("f.bin", 10)
	bob.share("g", path)
	_, err := ada.RemoveMember(t.Context(), "g", "bob")
	w.ok(err)
	w.eventually("the share ends", func() bool { return bob.onlyShare().State == "stopped" })
	w.join("g", ada, bob)
	want := "you ceased to be a member of the group; once you are one again, upload_file shares it again"
	if s := bob.onlyShare(); s.State != "stopped" || s.Reason != want {
		t.Errorf("the share is %+v", s)
	}
	bob.share("g", path)
	if s := bob.onlyShare(); s.State != "sharing" {
		t.Errorf("shared again it is %+v", s)
	}
}
