package node

import (
	"context"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

// The loss of a group is an event of the tracker: it ends the shares without
// waiting for the disk, and does not undo what the user has shared again since.
func TestLostGroupDoesNotWaitForTheDisk(t *testing.T) {
	n, err := New(WithDataDir(t.TempDir()), WithListen("127.0.0.1:0"), WithTrackers("127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	a := &account{
		node: n, ctx: ctx, cancel: cancel, recording: make(chan struct{}, 1), stopped: make(chan struct{}, 1),
		shares: map[fileKey]*share{}, groups: map[protocol.GroupID]string{{1}: "g"},
	}
	const shares = 1000
	for i := range shares {
		s := newShare(a, records.Share{Group: protocol.GroupID{1}, File: protocol.FileID{byte(i), byte(i >> 8)}, Name: "f"})
		a.shares[s.key] = s
	}
	a.recording <- struct{}{} // the disk is busy
	lost := make(chan struct{})
	go func() {
		defer close(lost)
		a.lostGroup(protocol.GroupID{1}, "g", "gone")
	}()
	select {
	case <-lost:
	case <-time.After(20 * time.Second):
		t.Fatal("it waits for the disk")
	}
	for _, s := range a.allShares() {
		if s.record().Withdrawn != "gone" {
			t.Fatal("a share goes on")
		}
	}
	again := newShare(a, records.Share{Group: protocol.GroupID{1}, File: protocol.FileID{7}, Name: "f"})
	a.shares[again.key] = again
	if err := n.records.PutShare(again.record()); err != nil {
		t.Fatal(err)
	}
	<-a.recording
	a.end(errClosed)
	stored, err := n.records.Shares(protocol.UserID{})
	if err != nil || len(stored) != shares {
		t.Fatalf("%d shares are recorded, %v, want %d", len(stored), err, shares)
	}
	for _, r := range stored {
		if want := r.File != again.key.file; (r.Withdrawn != "") != want {
			t.Errorf("%s is withdrawn: %q", r.File, r.Withdrawn)
		}
	}
}

// Whoever stops a share that has been replaced meanwhile is told so, and does
// not touch the one in its place.
func TestStopOfAReplacedShare(t *testing.T) {
	n, err := New(WithDataDir(t.TempDir()), WithListen("127.0.0.1:0"), WithTrackers("127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	a := &account{
		node: n, ctx: n.ctx, recording: make(chan struct{}, 1), exchanging: make(chan struct{}, 1), stopped: make(chan struct{}, 1),
		shares: map[fileKey]*share{},
	}
	rec := records.Share{File: protocol.FileID{1}, Name: "f", Size: 9, Since: time.Now()}
	old, err := a.putShare(rec)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := a.putShare(rec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.stopShare(t.Context(), old); protocol.CodeOf(err) != protocol.CodeNotFound {
		t.Errorf("stopping the old one: %v, want %s", err, protocol.CodeNotFound)
	}
	stored, err := n.records.Shares(rec.User)
	if err != nil || len(stored) != 1 || a.share(fresh.key) != fresh {
		t.Errorf("of the new one %d records are left, %v; it counts: %v", len(stored), err, a.share(fresh.key) == fresh)
	}
}
