package node_test

import (
	"context"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
)

// A session that its owner revokes from another client ends there: the client
// is logged out, its download stops, and its restart does not bring it back.
func TestRevokedSessionLogsItsClientOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	ada, _ := w.stalling("ada")
	bob := w.user("bob")
	w.group("g", ada, bob)
	d := w.running(ada, bob)
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

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = d.Wait(ctx)
	w.want(err, protocol.CodeSession)
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
