package rpc_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// A description that is damaged on the disk of a tracker while it runs is fetched
// from the other one, and the tracker ends.
func TestDamagedManifestIsHadElsewhere(t *testing.T) {
	var paths []string
	ws := newWorlds(t, 2, options{store: func(store.Store) store.Store {
		path := filepath.Join(t.TempDir(), "catalog.db")
		paths = append(paths, path)
		db, err := store.OpenBolt(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}})
	ada := ws[0].user("ada")
	ref := &pb.FileRequest{GroupId: ada.CreateGroup("g")}
	long := tt.Manifest("long.bin", 20_000, 1)
	if _, err := ada.Share("g", long); err != nil {
		t.Fatal(err)
	}
	id := long.ID()
	ref.FileId = id[:]
	await(t, "both have it", func() bool { ok, _ := ws[1].replica.HasManifest(id); return ok })
	damage(t, paths[0], long.Encode()[1000:1040])

	_, err := ada.Manifest(ref)
	if !protocol.CodeOf(err).ElsewhereHelps() || strings.Contains(err.Error(), paths[0]) {
		t.Errorf("the client hears %v (%s), want to be sent elsewhere", err, protocol.CodeOf(err))
	}
	if err := ws[0].replica.Err(); protocol.CodeOf(err) != protocol.CodeState || !strings.Contains(err.Error(), paths[0]) {
		t.Errorf("the tracker ends with %v, want E_STATE that names the file", err)
	}
	_, err = ada.Groups()
	wantCode(t, "the next call there", err, protocol.CodeBusy)
	ada.Use(ws[1].info)
	if got, err := ada.Manifest(ref); err != nil || !bytes.Equal(got, long.Encode()) {
		t.Errorf("at the other one: %d bytes, %v", len(got), err)
	}
}

// damage changes a bit of what is in a file that somebody has open.
func damage(t *testing.T, path string, what []byte) {
	t.Helper()
	all, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(all, what)
	if at < 0 {
		t.Fatalf("%s does not have it", path)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteAt([]byte{all[at] ^ 1}, int64(at)); err != nil {
		t.Fatal(err)
	}
}
