package node_test

import (
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/internal/promise"
	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestDownloadGoesOnWithoutTrackers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, bob, d, release := w.midTransfer()
	w.ok(w.trackers[0].Close())
	release()
	w.same(bob.finish(d), w.source("big.bin"))
	began := time.Now()
	_, err := bob.Download(t.Context(), "g", "big.bin", "")
	w.want(err, protocol.CodeNoTracker)
	if took := time.Since(began); took > promise.Within(5*time.Second) {
		t.Errorf("giving up took %v", took)
	}
	// The share that could not be told is told when the tracker is back.
	w.restartTracker(1)
	ada.awaitSeeders("g", 2)
}

func TestLogoutWithoutTrackersIsToldLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, bob, path := w.seeded(100_000)
	w.ok(w.trackers[0].Close())
	w.ok(ada.Close())

	ada = w.node("ada") // the session goes on though no tracker is there
	if name, err := ada.User(); err != nil || name != "ada" {
		t.Fatalf("got %q, %v", name, err)
	}
	_, err := ada.Groups(t.Context())
	w.want(err, protocol.CodeNoTracker)
	st, err := ada.Logout(t.Context())
	w.ok(err)
	if st.On != 0 || st.Trackers != 1 {
		t.Errorf("a logout that no tracker heard of is stored on %d of %d", st.On, st.Trackers)
	}
	_, err = ada.User()
	w.want(err, protocol.CodeSession)
	w.ok(ada.Close())

	w.restartTracker(1)
	ada = w.node("ada")
	_, err = ada.User()
	w.want(err, protocol.CodeSession)
	ada.login("ada", "password of ada")
	if s := ada.onlyShare(); s.State != "sharing" || s.Path != path {
		t.Errorf("after the login: %+v", s)
	}
	w.same(bob.download("g", "f.bin"), path)
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
