package rpc_test

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// A file that others have cannot be told from one that nobody has, nor be shared,
// by who has not shown what it is.
func TestSharingIsNoWayToAsk(t *testing.T) {
	w := newWorld(t, options{})
	ada, eve := w.user("ada"), w.user("eve")
	ada.CreateGroup("films")
	own := eve.CreateGroup("own")
	m := tt.Manifest("one.mkv", 2, 1)
	if _, err := ada.Share("films", m); err != nil {
		t.Fatal(err)
	}
	share := func(id protocol.FileID) error {
		_, err := tt.Do(eve, eve.At().ShareFile, &pb.ShareFileRequest{Group: tt.Group("own"), FileId: id[:]})
		return err
	}
	there, not := share(m.ID()), share(protocol.FileID{1})
	wantCode(t, "a file of another group", there, protocol.CodeNotFound)
	if there == nil || not == nil || there.Error() != not.Error() {
		t.Errorf("%q of a file that there is, %q of one that is not", there, not)
	}
	if known, err := eve.Put(own, m.ID(), m.Encode()); err != nil || known {
		t.Fatalf("PutManifest = %v, %v, want it taken", known, err)
	}
	wantCode(t, "once its description was shown", share(m.ID()), "")
}

// wholes counts the manifests that are read whole.
type wholes struct {
	store.Store
	n atomic.Int64
}

func (s *wholes) Blob(id protocol.FileID) ([]byte, bool, error) {
	s.n.Add(1)
	return s.Store.Blob(id)
}

// A long manifest that is stored here is shared and sent without being read
// whole, also while there is no place for more of those that are held whole.
func TestLongManifestsTakeTurns(t *testing.T) {
	whole := &wholes{}
	w := newWorld(t, options{store: func(db store.Store) store.Store { whole.Store = db; return whole }})
	ada := w.user("ada")
	gid := ada.CreateGroup("g")
	long := tt.Manifest("long.bin", 30_000, 1)
	if _, err := ada.Put(gid, long.ID(), long.Encode()); err != nil {
		t.Fatal(err)
	}
	if err := w.server.FillManifests(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := long.ID()
	r, err := tt.Do(ada, ada.At().ShareFile, &pb.ShareFileRequest{Group: tt.Group("g"), FileId: id[:]})
	if err != nil || r.GetName() != "long.bin" {
		t.Errorf("ShareFile = %v, %v", r, err)
	}
	got, err := ada.Manifest(&pb.FileRequest{GroupId: gid, FileId: id[:]})
	if err != nil || !bytes.Equal(got, long.Encode()) {
		t.Errorf("GetManifest: %d bytes, %v, want %d", len(got), err, len(long.Encode()))
	}
	if n := whole.n.Load(); n != 0 {
		t.Errorf("%d manifests were read whole", n)
	}
}

// await waits for what comes soon.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(tt.Timeout); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", tt.Timeout, what)
		}
	}
}

// dribble sends a manifest that goes on, a byte every now and then, until stop is
// closed, and returns what comes of it.
func dribble(c *tt.Client, group []byte, stop <-chan struct{}) <-chan error {
	stream := c.At().PutManifest(c.T.Context())
	c.Sign(stream.RequestHeader())
	ended := make(chan error, 1)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		id := protocol.FileID{1}
		msg := &pb.PutManifestRequest{GroupId: group, FileId: id[:], Data: make([]byte, protocol.ManifestChunk)}
		for going := true; going && stream.Send(msg) == nil; {
			msg = &pb.PutManifestRequest{Data: []byte{0}}
			select {
			case <-tick.C:
			case <-stop:
				going = false
			}
		}
		_, err := stream.CloseAndReceive()
		ended <- tt.Failure(err)
	}()
	return ended
}

// However many long manifests one user dribbles, others find a place.
func TestDribbledManifestsLeavePlaces(t *testing.T) {
	w := newWorld(t, options{})
	ada, eve := w.user("ada"), w.user("eve")
	gid, own := ada.CreateGroup("g"), eve.CreateGroup("own")
	stop, ends := make(chan struct{}), []<-chan error{}
	for range 6 {
		ends = append(ends, dribble(eve, own, stop))
	}
	defer func() {
		close(stop)
		for _, end := range ends {
			<-end
		}
	}()
	await(t, "one of them has a place", func() bool { return w.server.LongUploads() == 1 })
	long := tt.Manifest("long.bin", 2_000, 1)
	if known, err := ada.Put(gid, long.ID(), long.Encode()); err != nil || known {
		t.Errorf("PutManifest of another user = %v, %v", known, err)
	}
}

// A place is given back after its time, though bytes still come.
func TestDribbledManifestEnds(t *testing.T) {
	w := newWorld(t, options{})
	w.server.SetUploadLife(300 * time.Millisecond)
	eve := w.user("eve")
	stop := make(chan struct{})
	end := dribble(eve, eve.CreateGroup("own"), stop)
	await(t, "it has a place", func() bool { return w.server.LongUploads() == 1 })
	await(t, "the place is free", func() bool { return w.server.LongUploads() == 0 })
	close(stop)
	wantCode(t, "a manifest without end", <-end, protocol.CodeBusy)
}

// elsewhere is a client at the second tracker, and a long manifest that only the
// first one has.
func elsewhere(t *testing.T, ws []*world, second store.Store) (*tt.Client, *protocol.Manifest, *pb.FileRequest) {
	t.Helper()
	ada := ws[0].user("ada")
	gid := ada.CreateGroup("g")
	long := tt.Manifest("long.bin", 20_000, 1)
	if _, err := ada.Share("g", long); err != nil {
		t.Fatal(err)
	}
	id := long.ID()
	if err := second.Commit(store.Batch{DeleteBlobs: []protocol.FileID{id}}); err != nil {
		t.Fatal(err)
	}
	return ada.Use(ws[1].info), long, &pb.FileRequest{GroupId: gid, FileId: id[:]}
}

// What another tracker had is not held while a client is slow to receive it.
func TestSlowReceiverHoldsNoPlace(t *testing.T) {
	var stores []store.Store
	ws := newWorlds(t, 2, options{interval: 20 * time.Millisecond, store: func(db store.Store) store.Store {
		stores = append(stores, db)
		return db
	}})
	there, long, ref := elsewhere(t, ws, stores[1])
	req := connect.NewRequest(ref)
	there.Sign(req.Header())
	stream, err := there.At().GetManifest(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the manifest is fetched", func() bool {
		ok, err := stores[1].HasBlob(long.ID())
		return ok && err == nil
	})
	await(t, "the place is free", func() bool { return ws[1].server.Fetches() == 0 })
	var got []byte
	for stream.Receive() {
		got = append(got, stream.Msg().GetData()...)
	}
	if err := stream.Err(); err != nil || !bytes.Equal(got, long.Encode()) {
		t.Errorf("%d bytes, %v, want %d", len(got), err, len(long.Encode()))
	}
}

// Short manifests that are never shared count for more than their bytes.
func TestNumberOfManifestsIsBounded(t *testing.T) {
	w := newWorld(t, options{limits: map[string]string{auth.LimitManifests: "49152/h,49152"}})
	ada := w.user("ada")
	gid := ada.CreateGroup("g")
	for i := range 4 {
		m := tt.Manifest("short.bin", 1, byte(i))
		_, err := ada.Put(gid, m.ID(), m.Encode())
		want := protocol.Code("")
		if i == 3 {
			want = protocol.CodeRate
		}
		wantCode(t, "PutManifest", err, want)
	}
}

// One account makes no more sessions than a person could.
func TestSessionsOfOneUserAreBounded(t *testing.T) {
	w := newWorld(t, options{limits: map[string]string{auth.LimitSessions: "1/h,3"}})
	ada := w.user("ada")
	for range 2 {
		wantCode(t, "login", ada.Login("ada", tt.Password), "")
	}
	wantCode(t, "one login more", ada.Login("ada", tt.Password), protocol.CodeRate)
	wantCode(t, "of somebody else", w.user("bob").Login("bob", tt.Password), "")
}

// noRoom is a store that takes nothing once it is full.
type noRoom struct {
	store.Store
	full atomic.Bool
}

func (s *noRoom) Commit(b store.Batch) error {
	if s.full.Load() {
		return errors.New("no space left on device")
	}
	return s.Store.Commit(b)
}

// A tracker whose disk is full hands out what it has to fetch of another one.
func TestFullTrackerReadsManifests(t *testing.T) {
	var disks []*noRoom
	ws := newWorlds(t, 2, options{store: func(db store.Store) store.Store {
		disks = append(disks, &noRoom{Store: db})
		return disks[len(disks)-1]
	}})
	there, long, ref := elsewhere(t, ws, disks[1])
	disks[1].full.Store(true)
	for range 2 { // the first finds that the disk is full
		got, err := there.Manifest(ref)
		if err != nil || !bytes.Equal(got, long.Encode()) {
			t.Errorf("%d bytes, %v, want all %d", len(got), err, len(long.Encode()))
		}
	}
	if n := ws[1].server.Fetches(); n != 0 {
		t.Errorf("%d places are held", n)
	}
}
