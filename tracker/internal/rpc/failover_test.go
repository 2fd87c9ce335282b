package rpc_test

import (
	"context"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// lacking returns a tracker that has not heard of a user.
func lacking(t *testing.T, worlds []*world, name string) *world {
	t.Helper()
	for _, w := range worlds {
		known := false
		w.replica.View(func(c *catalog.Catalog) { _, known = c.UserNamed(name) })
		if !known {
			return w
		}
	}
	t.Fatalf("all trackers know %s, so this shows nothing", name)
	return nil
}

// Whoever comes to a tracker that has missed the news does not notice.
func TestFailOverToOneThatMissedTheNews(t *testing.T) {
	worlds := newWorlds(t, 3, options{interval: time.Hour})
	ada := worlds[0].user("ada")
	ada.CreateGroup("g")
	ada.Use(lacking(t, worlds, "ada").info)
	list, err := tt.Do(ada, ada.At().ListGroups, &pb.ListGroupsRequest{})
	if err != nil || len(list.GetGroups()) != 1 || list.GetGroups()[0].GetRole() != "owner" {
		t.Errorf("groups at the other tracker = %v, %v, want the one that was made", list, err)
	}

	bob := worlds[0].client()
	if err := bob.Register("bob"); err != nil {
		t.Fatal(err)
	}
	bob.Use(lacking(t, worlds, "bob").info)
	wantCode(t, "login where the account is news", bob.Login("bob", tt.Password), "")
}

// A client comes with many calls at once, after one that it has given up.
func TestAllCallsOfAFailOverCatchUp(t *testing.T) {
	worlds := newWorlds(t, 3, options{interval: time.Hour})
	ada := worlds[0].user("ada")
	there := lacking(t, worlds, "ada")
	gaveUp, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = there.server.Checked(gaveUp, ada.Host.ID(), ada.Session)
	errs := make(chan error)
	for range 16 {
		go func() {
			_, err := there.server.Checked(t.Context(), ada.Host.ID(), ada.Session)
			errs <- err
		}()
	}
	for range 16 {
		wantCode(t, "one of many calls at once", <-errs, "")
	}
}

// A session that was ended elsewhere opens nothing where that is news.
func TestEndedSessionAtOneThatMissedTheNews(t *testing.T) {
	worlds := newWorlds(t, 3, options{interval: time.Hour})
	ada := worlds[0].user("ada")
	if _, err := tt.Do(ada, ada.At().Logout, &pb.LogoutRequest{}); err != nil {
		t.Fatal(err)
	}
	for _, w := range worlds {
		ada.Use(w.info)
		_, err := tt.Do(ada, ada.At().ListGroups, &pb.ListGroupsRequest{})
		wantCode(t, "a session that was ended", err, protocol.CodeSession)
	}
}
