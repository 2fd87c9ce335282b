package rpc_test

import (
	"slices"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// A session ends when its client is just attaching.
func TestSessionEndsWhileAttaching(t *testing.T) {
	w := newWorld(t, options{})
	ada := w.user("ada")
	call, err := w.server.Checked(t.Context(), ada.Host.ID(), ada.Session)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tt.Do(ada, ada.At().Logout, &pb.LogoutRequest{}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "the stream", call.Admit(), protocol.CodeSession)
	if n := w.server.Streams(); n != 0 {
		t.Errorf("%d streams are registered", n)
	}
}

// A share ends when its client is just announcing it.
func TestShareEndsWhileAnnouncing(t *testing.T) {
	w := newWorld(t, options{})
	ada := w.user("ada")
	gid := protocol.GroupID(ada.CreateGroup("films"))
	m := tt.Manifest("one.mkv", 1, 1)
	if _, err := ada.Share("films", m); err != nil {
		t.Fatal(err)
	}
	ref := presence.FileRef{Group: gid, File: protocol.ManifestID(m.Encode())}
	other := presence.FileRef{Group: gid, File: protocol.FileID{1}}
	ada.Attach()
	call, err := w.server.Checked(t.Context(), ada.Host.ID(), ada.Session)
	if err != nil {
		t.Fatal(err)
	}
	offers := []presence.Offer{{FileRef: ref, Complete: true}, {FileRef: other}}
	if refused, ok := call.Offer(offers...); !ok || !slices.Equal(refused, []presence.FileRef{other}) || w.presence.Complete(ref) != 1 {
		t.Fatalf("of what is shared, %v was refused; %v", refused, ok)
	}
	if _, err := tt.Do(ada, ada.At().StopShare, &pb.StopShareRequest{GroupId: gid[:], FileId: ref.File[:]}); err != nil {
		t.Fatal(err)
	}
	if refused, ok := call.Offer(offers...); !ok || len(refused) != 2 || w.presence.Complete(ref) != 0 {
		t.Errorf("refused %v, %v; %d offer the file", refused, ok, w.presence.Complete(ref))
	}
}

// Only a session that still counts makes its client known: who was logged out or
// disabled is a stranger again, whose streams are counted.
func TestEndedSessionsMakeNobodyKnown(t *testing.T) {
	w := newWorld(t, options{})
	ada := w.user("ada")
	logout := func() bool {
		known, err := w.server.ShownBy(t.Context(), ada.Host.ID(), pb.TrackerServiceLogoutProcedure, ada.Session)
		if err != nil {
			t.Fatal(err)
		}
		return known
	}
	if !logout() {
		t.Error("a session that counts makes nobody known")
	}
	if _, err := tt.Do(ada, ada.At().Logout, &pb.LogoutRequest{}); err != nil {
		t.Fatal(err)
	}
	if logout() {
		t.Error("a session that was ended makes its client known")
	}
}
