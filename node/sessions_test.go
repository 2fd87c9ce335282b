package node_test

import (
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/internal/promise"
	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

// A session that its owner revokes from another client ends there: the client
// is logged out, its download stops, and its restart does not bring it back.
func TestRevokedSessionLogsItsClientOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	ada, bob, d, _ := w.midTransfer()
	desk := w.node("desk")
	desk.login("bob", "password of bob")

	list, err := desk.Sessions(t.Context())
	w.ok(err)
	if len(list) != 2 || list[0].This || !list[1].This || !list[0].Online || list[0].Since.After(list[1].Since) {
		t.Fatalf("sessions %+v, want bob's first, online, then this one", list)
	}
	_, err = ada.RevokeSession(t.Context(), list[0].ID)
	w.want(err, protocol.CodeNotFound)
	_, err = desk.RevokeSession(t.Context(), "no id")
	w.want(err, protocol.CodeNotFound)
	st, err := desk.RevokeSession(t.Context(), list[0].ID)
	w.ok(err)
	if st.On != 2 || st.Already {
		t.Errorf("stored as %+v", st)
	}

	w.fails(d, protocol.CodeSession)
	_, err = bob.User()
	w.want(err, protocol.CodeSession)
	w.ok(bob.Close())
	bob = w.node("bob")
	_, err = bob.User()
	w.want(err, protocol.CodeSession)
	if again, err := desk.RevokeSession(t.Context(), list[0].ID); err != nil || !again.Already {
		t.Errorf("revoking it again: %+v, %v", again, err)
	}

	// One's own session is ended as by a logout.
	if list, err = desk.Sessions(t.Context()); err != nil || len(list) != 1 {
		t.Fatalf("sessions %+v, %v", list, err)
	}
	_, err = desk.RevokeSession(t.Context(), list[0].ID)
	w.ok(err)
	_, err = desk.Sessions(t.Context())
	w.want(err, protocol.CodeSession)
}

func TestLogoutStopsServing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, bob, d, release := w.midTransfer()
	began := time.Now()
	st, err := ada.Logout(t.Context())
	w.ok(err)
	if st.On != 1 || st.Trackers != 1 {
		t.Errorf("the logout is stored on %d of %d trackers, want the one", st.On, st.Trackers)
	}
	w.eventually("the download waits", func() bool {
		p := d.Progress()
		return p.State == node.Waiting && p.Peers == 0 && p.Done < p.Total
	})
	if took := time.Since(began); took > promise.Within(5*time.Second) {
		t.Errorf("the transfer went on for %v", took)
	}
	_, err = ada.Shares()
	w.want(err, protocol.CodeSession)

	release()
	ada.login("ada", "password of ada")
	w.same(bob.finish(d), w.source("big.bin"))
}

func TestPasswordChangeEndsOtherSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	ada := w.user("ada")
	other := w.node("ada2")
	other.login("ada", "password of ada")
	_, err := ada.ChangePassword(t.Context(), "password of ada", "another password")
	w.ok(err)
	w.eventually("the other session ends", func() bool {
		_, err := other.User()
		return protocol.CodeOf(err) == protocol.CodeSession
	})
	w.retry("this session goes on", func() error { _, err := ada.Groups(t.Context()); return err })
	_, err = other.Login(t.Context(), "ada", "password of ada")
	w.want(err, protocol.CodeAuth)
	other.login("ada", "another password")
}
