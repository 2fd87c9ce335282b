package replica_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

func TestAlone(t *testing.T) {
	nd := running(t, 1)[0]
	s, err := nd.register("ada", userID("ada"))
	if err != nil || s.On != 1 || s.Trackers != 1 || s.Stamp.IsZero() {
		t.Fatalf("Stored = %+v, %v, want on 1 of 1", s, err)
	}
	if !nd.hasUser("ada") {
		t.Error("the account is not there")
	}
	nd.mu.Lock()
	defer nd.mu.Unlock()
	if len(nd.changes) != 3 {
		t.Errorf("OnChange got %d facts, want 3", len(nd.changes))
	}
}

func TestConfirmedByAnother(t *testing.T) {
	nodes := running(t, 2)
	s, err := nodes[0].register("ada", userID("ada"))
	if err != nil || s.On != 2 || s.Trackers != 2 {
		t.Fatalf("Stored = %+v, %v, want on 2 of 2", s, err)
	}
	// Confirmed means that it is in the other's store, not just on its way.
	if n := countRecords(t, nodes[1].store); n != 3 {
		t.Errorf("the other tracker's store has %d facts, want 3", n)
	}
	// What is not written again is on both once a round of exchange says so.
	await(t, "repeated at the other, it is on both", func() bool {
		s, err = nodes[1].register("ada", userID("ada"))
		if err != nil {
			t.Fatalf("repeated at the other: %v", err)
		}
		return s.On == 2
	})
	nodes[1].stop()
	await(t, "loss noticed", func() bool { return len(nodes[0].Connected()) == 0 })
	if s, err = nodes[0].register("bob", userID("bob")); err != nil || s.On != 1 || s.Trackers != 2 {
		t.Errorf("Stored = %+v, %v, want on 1 of 2", s, err)
	}
}

func countRecords(t *testing.T, s store.Store) (n int) {
	t.Helper()
	if err := s.Records(func(store.Record) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestBuildErrorChangesNothing(t *testing.T) {
	nodes := running(t, 2)
	before := nodes[0].root()
	_, err := nodes[0].propose(func(*catalog.Catalog) ([]catalog.Draft, error) {
		return nil, &protocol.Error{Code: protocol.CodeForbidden, Msg: "no"}
	})
	if codeOf(err) != protocol.CodeForbidden {
		t.Errorf("err = %v, want what Build returned", err)
	}
	if _, err := nodes[0].propose(func(*catalog.Catalog) ([]catalog.Draft, error) {
		return append(catalog.SetDisabled(userID("x"), true), catalog.Draft{Key: "nonsense"}), nil
	}); codeOf(err) != protocol.CodeInternal {
		t.Errorf("a malformed draft: %v, want E_INTERNAL", err)
	}
	if nodes[0].root() != before {
		t.Error("a refused change has changed something")
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	nd := cluster(t, 1)[0]
	open := func(newNetwork bool) {
		s, err := store.OpenBolt(path)
		if err != nil {
			t.Fatal(err)
		}
		nd.store = s
		nd.start(newNetwork)
		nd.awaitReady()
	}
	open(true)
	nd.mustRegister("ada")
	blob := manifest(t, "a.bin").Encode()
	id := protocol.ManifestID(blob)
	if err := nd.PutManifest(id, blob); err != nil {
		t.Fatal(err)
	}
	root, network, last := nd.root(), nd.Network(), nd.Now()
	nd.stop()
	if err := nd.store.Close(); err != nil {
		t.Fatal(err)
	}
	open(false)
	defer func() {
		nd.stop()
		if err := nd.store.Close(); err != nil {
			t.Error(err)
		}
	}()
	if nd.root() != root || nd.Network() != network || network.IsZero() {
		t.Errorf("root %x network %v, want %x %v", nd.root(), nd.Network(), root, network)
	}
	if nd.Now().Compare(last) < 0 {
		t.Errorf("the clock went back from %v to %v", last, nd.Now())
	}
	if b, err := nd.Manifest(t.Context(), id); err != nil || !bytes.Equal(b, blob) {
		t.Errorf("manifest: %d bytes, %v", len(b), err)
	}
	if _, err := nd.Manifest(t.Context(), protocol.FileID{1}); codeOf(err) != protocol.CodeNotFound {
		t.Errorf("unknown manifest: %v, want E_NOT_FOUND", err)
	}
}

func manifest(t testing.TB, name string) *protocol.Manifest {
	t.Helper()
	return &protocol.Manifest{
		Name: name, Size: 5, PieceLength: protocol.MinPieceLength,
		Pieces: make([]protocol.PieceHash, 1),
	}
}

// A fault in one change ends neither the tracker nor the changes beside it.
func TestPanicInAChange(t *testing.T) {
	nd := running(t, 1)[0]
	_, err := nd.propose(func(*catalog.Catalog) ([]catalog.Draft, error) { panic("a fault") })
	if codeOf(err) != protocol.CodeInternal {
		t.Errorf("a change that panics: %v, want E_INTERNAL", err)
	}
	nd.mustRegister("ada")
}

func TestPendingIsRefusedAfterClose(t *testing.T) {
	nd := running(t, 1)[0]
	if err := nd.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := nd.register("ada", userID("ada")); codeOf(err) != protocol.CodeBusy {
		t.Errorf("Propose after Close: %v, want E_BUSY", err)
	}
	if err := nd.PutManifest(protocol.FileID{}, nil); codeOf(err) != protocol.CodeBusy {
		t.Errorf("PutManifest after Close: %v, want E_BUSY", err)
	}
}

func TestObserve(t *testing.T) {
	nd := running(t, 1)[0]
	now := time.Now().UnixMilli()
	seen := protocol.Stamp{Wall: now + time.Minute.Milliseconds(), Logical: 7, Origin: "x"}
	nd.Observe(seen)
	if s := nd.must(func(*catalog.Catalog) []catalog.Draft { return catalog.SetDisabled(userID("a"), true) }); !s.Stamp.After(seen) {
		t.Errorf("stamp %v is not after the observed %v", s.Stamp, seen)
	}
	nd.Observe(protocol.Stamp{Wall: now + time.Hour.Milliseconds(), Origin: "x"})
	if lead := nd.Now().Wall - time.Now().UnixMilli(); lead > (2 * time.Minute).Milliseconds() {
		t.Errorf("the clock is %d ms ahead, want at most 2 minutes", lead)
	}
}

func TestEmptyProposal(t *testing.T) {
	nd := running(t, 1)[0]
	s, err := nd.Propose(t.Context(), replica.Proposal{
		Build: func(*catalog.Catalog) ([]catalog.Draft, error) { return nil, nil },
	})
	if err != nil || s.On != 1 {
		t.Errorf("Stored = %+v, %v, want on 1", s, err)
	}
}

// A manifest that nobody has named for a day goes, but not one that is about to
// be named, also where that begins while others are being dropped.
func TestManifestThatIsToBeNamedStays(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.start(true)
	nd.awaitReady()
	var ids []protocol.FileID
	for _, name := range []string{"early", "late", "nobody's"} {
		b := manifest(t, name).Encode()
		ids = append(ids, protocol.ManifestID(b))
		if err := nd.PutManifest(protocol.ManifestID(b), b); err != nil {
			t.Fatal(err)
		}
	}
	hold := func(i int) {
		if err := nd.HoldManifest(t.Context(), ids[i]); err != nil {
			t.Error(err)
		}
	}
	if err := nd.SweepAfter(25*time.Hour, func() { hold(0) }, func() { hold(1) }); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, true, false} {
		if ok, err := nd.HasManifest(ids[i]); err != nil || ok != want {
			t.Errorf("manifest %d is here: %v, %v, want %v", i, ok, err, want)
		}
	}
}

// dropping is a store that says late what it has, and notes what is dropped.
type dropping struct {
	store.Store
	armed           atomic.Bool
	reached, answer chan struct{}
	dropped         atomic.Int32
}

func (s *dropping) HasBlob(id protocol.FileID) (bool, error) {
	ok, err := s.Store.HasBlob(id)
	if s.armed.CompareAndSwap(true, false) {
		close(s.reached)
		<-s.answer
	}
	return ok, err
}

func (s *dropping) Commit(b store.Batch) error {
	s.dropped.Add(int32(len(b.DeleteBlobs)))
	return s.Store.Commit(b)
}

// Nor does one go that a tracker is about to vouch for.
func TestManifestThatIsConfirmedStays(t *testing.T) {
	nodes := cluster(t, 2)
	disk := &dropping{Store: nodes[1].store, reached: make(chan struct{}), answer: make(chan struct{})}
	nodes[1].store = disk
	for _, nd := range withoutGossip(t, nodes) {
		nd.CatchUp(t.Context()) // behind the rounds of the beginning: only a confirmation brings the file
	}
	m := manifest(t, "file")
	id, b := m.ID(), m.Encode()
	if err := nodes[1].PutManifest(id, b); err != nil {
		t.Fatal(err)
	}
	stored := make(chan error, 1)
	err := nodes[1].SweepAfter(25*time.Hour, func() {}, func() {
		disk.armed.Store(true)
		go func() {
			_, err := nodes[0].Propose(t.Context(), replica.Proposal{
				Blobs: map[protocol.FileID][]byte{id: b},
				Build: func(c *catalog.Catalog) ([]catalog.Draft, error) {
					return c.ShareFile(catalog.Share{Group: groupID(1), File: id, User: userID("ada"), Peer: "p"}, m, 100), nil
				},
			})
			stored <- err
		}()
		<-disk.reached
	})
	close(disk.answer)
	if err := errors.Join(err, <-stored); err != nil {
		t.Fatal(err)
	}
	if n := disk.dropped.Load(); n != 0 {
		t.Errorf("%d manifests were dropped that were about to be vouched for", n)
	}
}
