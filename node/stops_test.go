package node_test

import (
	"os"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
)

// A share that ends while no tracker is there leaves its name to others as
// soon as one is, whether the user ended it or the file did, a restart in
// between.
func TestEndedShareWithoutTrackersIsToldLater(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		end  func(w *world, c *client, path string)
	}{
		{"stopped", func(w *world, c *client, _ string) {
			_, err := c.Unshare(w.Context(), "g", "f.bin")
			w.ok(err)
			shares, err := c.Shares()
			w.ok(err)
			if len(shares) != 0 {
				w.Errorf("still shared: %+v", shares)
			}
		}},
		{"withdrawn", func(w *world, c *client, path string) {
			w.ok(os.Remove(path))
			if s := c.onlyShare(); s.State != "stopped" {
				w.Errorf("the missing file is listed as %+v", s)
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			ada, bob, path := w.seeded(100_000)
			other := w.folder("bobs") + "/f.bin"
			w.ok(os.WriteFile(other, []byte("of bob"), 0o644))
			_, _, err := bob.Share(t.Context(), "g", other, nil)
			w.want(err, protocol.CodeExists)

			w.ok(w.trackers[0].Close())
			test.end(w, ada, path)
			w.ok(ada.Close())
			w.restartTracker(1)
			w.node("ada")
			w.retry("the name is free", func() error {
				_, _, err := bob.Share(t.Context(), "g", other, nil)
				return err
			})
		})
	}
}

// Sharing a file again takes back what trackers have not heard of its end.
func TestSharedAgainBeforeTheEndIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, bob, path := w.seeded(100_000)
	w.ok(w.trackers[0].Close())
	_, err := ada.Unshare(t.Context(), "g", "f.bin")
	w.ok(err)
	w.restartTracker(1)
	w.retry("it is shared again", func() error {
		_, _, err := ada.Share(t.Context(), "g", path, nil)
		return err
	})
	w.same(bob.download("g", "f.bin"), path)
	w.ok(ada.Close())
	ada = w.node("ada")
	if s := ada.onlyShare(); s.State != "sharing" {
		t.Errorf("after a restart: %+v", s)
	}
	bob.awaitSeeders("g", 2)
}

// New content at the same path ends the share of the old one at the trackers.
func TestNewContentEndsTheOldShare(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, bob, path := w.seeded(100_000)
	w.ok(os.WriteFile(path, []byte("something new"), 0o644))
	ada.share("g", path)
	files, err := bob.Files(t.Context(), "g")
	w.ok(err)
	if len(files) != 1 || files[0].Size != 13 || files[0].Seeders != 1 {
		t.Errorf("after the new content: %+v", files)
	}
	_, err = ada.Unshare(t.Context(), "g", "f.bin")
	w.ok(err)
	if files, err = bob.Files(t.Context(), "g"); err != nil || len(files) > 1 || len(files) == 1 && files[0].Seeders > 0 {
		t.Errorf("after the end: %+v, %v", files, err)
	}
}
