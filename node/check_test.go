package node_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

// What the disk loses of a download after it was verified is noticed when the
// file is whole, and fetched again without anybody asking for it.
func TestRepairsWhatTheDiskLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	// Slow enough that a piece can be spoiled while the others are fetched.
	ada, bob := w.user("ada", node.WithUploadLimit(4<<20)), w.user("bob")
	w.group("g", ada, bob)
	path := w.file("f.bin", 8*protocol.PieceLength)
	ada.share("g", path)
	first := bob.begin("g", "f.bin")
	spoilPiece(w, first, path)
	bob.finish(first)
	repaired := func() *node.Download {
		all, err := bob.Downloads()
		w.ok(err)
		return all[0]
	}
	w.eventually("the download begins anew", func() bool { return repaired() != first })
	second := repaired()
	w.same(bob.finish(second), path)
	if p := second.Progress(); p.State != node.Complete {
		t.Errorf("after the repair: %+v", p)
	}
	w.eventually("it is shared again", func() bool {
		shares, err := bob.Shares()
		w.ok(err)
		return len(shares) == 1 && shares[0].State == "sharing"
	})
}

// A client that is closed the moment a download is complete, as in a script,
// makes up for the check when it runs again.
func TestClosedClientChecksLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, bob := w.user("ada", node.WithUploadLimit(4<<20)), w.user("bob")
	w.group("g", ada, bob)
	path := w.file("f.bin", 8*protocol.PieceLength)
	ada.share("g", path)
	d := bob.begin("g", "f.bin")
	spoilPiece(w, d, path)
	res := bob.finish(d)
	w.ok(bob.Close())
	bob = w.node("bob")
	w.eventually("the file is as it was sent", func() bool { return sameBytes(w, res.Path, path) })
	w.same(bob.finish(bob.onlyDownload()), path)
}

func sameBytes(w *world, a, b string) bool {
	w.Helper()
	want, err := os.ReadFile(b)
	w.ok(err)
	got, err := os.ReadFile(a)
	return err == nil && bytes.Equal(got, want)
}

// A kill at any point of a repair leaves what the next run goes on from.
func TestKilledWhileRepairing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada := w.user("ada")
	path := w.file("f.bin", 8*protocol.MinPieceLength)
	w.group("g", ada)
	ada.share("g", path)
	for i, tt := range []struct {
		name   string
		killed func(w *world, d *records.Download, j filestore.Journal)
	}{
		{"before anything is recorded", func(*world, *records.Download, filestore.Journal) {}},
		{"when the journal has the good pieces", func(w *world, _ *records.Download, j filestore.Journal) {
			w.ok(j.Save([]byte{0xdf}))
		}},
		{"when the download is under way", func(w *world, d *records.Download, j filestore.Journal) {
			w.ok(j.Save([]byte{0xdf}))
			d.State, d.Path = "active", ""
		}},
		{"when the final name is gone", func(w *world, d *records.Download, j filestore.Journal) {
			w.ok(j.Save([]byte{0xdf}))
			w.ok(os.Rename(d.Target.Path(), filepath.Join(d.Target.Dir, d.Target.Part)))
			d.State, d.Path = "active", ""
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{TB: t, dir: w.folder(t.Name()), network: w.network, entries: w.entries, trackers: w.trackers}
			name := fmt.Sprint("bob", i)
			bob := w.user(name)
			w.join("g", ada, bob)
			res := bob.download("g", "f.bin")
			w.ok(bob.Close())

			info, err := os.Stat(res.Path)
			w.ok(err)
			spoiled, err := os.ReadFile(res.Path)
			w.ok(err)
			spoiled[2*protocol.MinPieceLength+7] ^= 1
			w.ok(os.WriteFile(res.Path, spoiled, 0o600))
			w.ok(os.Chtimes(res.Path, time.Time{}, info.ModTime()))
			w.change(name, func(r *records.Records, d *records.Download) {
				d.Unchecked = filestore.Stamp{Size: info.Size(), ModTime: info.ModTime()}
				tt.killed(w, d, r.Journal(d.User, d.Group, d.File))
			})

			bob = w.node(name)
			w.eventually("the file is as it was sent", func() bool { return sameBytes(w, res.Path, path) })
			w.same(bob.finish(bob.onlyDownload()), path)
			if left := bob.partials(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// change alters the record of the only download of a client that does not run.
func (w *world) change(name string, f func(r *records.Records, d *records.Download)) {
	w.Helper()
	r, user := w.records(name)
	all, err := r.Downloads(user)
	w.ok(err)
	if len(all) != 1 {
		w.Fatalf("%d downloads, want 1", len(all))
	}
	f(r, &all[0])
	w.ok(r.PutDownload(all[0]))
	w.ok(r.Close())
}

// spoilPiece changes a piece that d has written already.
func spoilPiece(w *world, d *node.Download, source string) {
	w.Helper()
	content, err := os.ReadFile(source)
	w.ok(err)
	w.eventually("a piece is spoiled", func() bool {
		parts, err := filepath.Glob(filepath.Join(d.Dir(), ".*.part"))
		w.ok(err)
		if len(parts) != 1 || d.Progress().Done == 0 {
			return false
		}
		f, err := os.OpenFile(parts[0], os.O_RDWR, 0)
		w.ok(err)
		defer f.Close()
		b := make([]byte, protocol.MinPieceLength)
		for off := int64(0); off < int64(len(content)); off += protocol.MinPieceLength {
			if _, err := f.ReadAt(b, off); err == nil && bytes.Equal(b, content[off:][:len(b)]) {
				_, err := f.WriteAt([]byte{^b[0]}, off)
				w.ok(err)
				return true
			}
		}
		return false
	})
}
