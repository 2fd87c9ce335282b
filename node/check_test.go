package node_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/p2pshare/p2pshare/node"
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
	_, _, err := ada.Share(t.Context(), "g", path, nil)
	w.ok(err)
	first := w.begin(bob, "g", "f.bin")
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

// begin starts a download as soon as the group's news have come.
func (w *world) begin(c *client, group, name string) (d *node.Download) {
	w.Helper()
	w.retry("the file is known", func() (err error) {
		d, err = c.Download(w.Context(), group, name, "")
		return err
	})
	return d
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
		b := make([]byte, protocol.PieceLength)
		for off := int64(0); off < int64(len(content)); off += protocol.PieceLength {
			if _, err := f.ReadAt(b, off); err == nil && bytes.Equal(b, content[off:][:len(b)]) {
				_, err := f.WriteAt([]byte{^b[0]}, off)
				w.ok(err)
				return true
			}
		}
		return false
	})
}
