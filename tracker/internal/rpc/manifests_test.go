package rpc_test

import (
	"bytes"
	"context"
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

// Long manifests are held whole in a few places alone, and not while a client
// takes its time to receive one.
func TestLongManifestsTakeTurns(t *testing.T) {
	whole := &wholes{}
	w := newWorld(t, options{store: func(db store.Store) store.Store { whole.Store = db; return whole }})
	ada := w.user("ada")
	gid := ada.CreateGroup("g")
	long, short := tt.Manifest("long.bin", 30_000, 1), tt.Manifest("short.bin", 10, 2)
	if _, err := ada.Share("g", long); err != nil {
		t.Fatal(err)
	}
	if _, err := ada.Put(gid, short.ID(), short.Encode()); err != nil {
		t.Fatal(err)
	}
	if err := w.server.FillManifests(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := whole.n.Load()
	id := long.ID()
	got, err := ada.Manifest(&pb.FileRequest{GroupId: gid, FileId: id[:]})
	if err != nil || !bytes.Equal(got, long.Encode()) {
		t.Errorf("GetManifest: %d bytes, %v, want %d", len(got), err, len(long.Encode()))
	}
	share := func(ctx context.Context, id protocol.FileID) error {
		req := connect.NewRequest(&pb.ShareFileRequest{Group: tt.Group("g"), FileId: id[:]})
		ada.Sign(req.Header())
		_, err := ada.At().ShareFile(ctx, req)
		return tt.Failure(err)
	}
	wantCode(t, "sharing a short one", share(t.Context(), short.ID()), "")
	if n := whole.n.Load() - before; n != 0 {
		t.Errorf("%d manifests were read whole", n)
	}
	soon, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := share(soon, long.ID()); err == nil {
		t.Error("a long manifest was read whole with no place free")
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
