package rpc_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// missed has users enter at the first tracker until one of the trackers has not
// heard of the last of them: the rounds of exchange that began with the
// connections may still carry some. It returns that user's name and that tracker.
func missed(t *testing.T, worlds []*world, user string, enter func(name string)) (string, *world) {
	t.Helper()
	for i := range 20 {
		name := fmt.Sprint(user, i)
		enter(name)
		for _, w := range worlds {
			known := false
			w.replica.View(func(c *catalog.Catalog) { _, known = c.UserNamed(name) })
			if !known {
				return name, w
			}
		}
	}
	t.Fatal("all trackers hear of everybody at once, though there is no gossip")
	return "", nil
}

// Whoever comes to a tracker that has missed the news does not notice.
func TestFailOverToOneThatMissedTheNews(t *testing.T) {
	worlds := newWorlds(t, 3, options{interval: time.Hour})
	var ada *tt.Client
	name, there := missed(t, worlds, "ada", func(name string) {
		ada = worlds[0].user(name)
		ada.CreateGroup("of-" + name)
	})
	ada.Use(there.info)
	groups, err := ada.Groups()
	if err != nil {
		t.Fatal(err)
	}
	owned := ""
	for _, g := range groups {
		if g.GetRole() == "owner" {
			owned += g.GetName()
		}
	}
	if owned != "of-"+name {
		t.Errorf("groups at the other tracker: own %q of %v, want the one that was made", owned, groups)
	}

	bob := worlds[0].client()
	name, there = missed(t, worlds, "bob", func(name string) {
		if err := bob.Register(name); err != nil {
			t.Fatal(err)
		}
	})
	bob.Use(there.info)
	wantCode(t, "login where the account is news", bob.Login(name, tt.Password), "")
}

// A client comes with many calls at once, after one that it has given up.
func TestAllCallsOfAFailOverCatchUp(t *testing.T) {
	worlds := newWorlds(t, 3, options{interval: time.Hour})
	var ada *tt.Client
	_, there := missed(t, worlds, "ada", func(name string) { ada = worlds[0].user(name) })
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
		_, err := ada.Groups()
		wantCode(t, "a session that was ended", err, protocol.CodeSession)
	}
}
