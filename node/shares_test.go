package node_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

// A fault that may pass does not end a share: here the path leads nowhere for
// a while, other than by the file being gone.
func TestPassingFaultKeepsTheShare(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, bob, path := w.seeded(100_000)
	w.ok(os.Rename(path, path+".away"))
	w.ok(os.Symlink(path, path)) // a loop
	if s := ada.onlyShare(); s.State != "sharing" {
		t.Errorf("during the fault: %+v", s)
	}
	w.ok(os.Remove(path))
	w.ok(os.Rename(path+".away", path))
	w.same(bob.download("g", "f.bin"), path)
}

// What was fetched is not fetched again when the name turns out to be taken at
// the end and the user names another one in the same folder.
func TestTakenNameCostsNoPieces(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	_, bob, d, release := w.midTransfer()
	taken := filepath.Join(w.folder("downloads-bob"), "big.bin")
	w.ok(os.WriteFile(taken, []byte("mine"), 0o644))
	release()
	w.fails(d, protocol.CodeTargetExists)
	d, err := bob.Download(t.Context(), "g", "big.bin", filepath.Join(filepath.Dir(taken), "other.bin"))
	w.ok(err)
	res := bob.finish(d)
	w.same(res, w.source("big.bin"))
	if len(res.Peers) != 0 {
		t.Errorf("pieces came again: %+v", res.Peers)
	}
}

func TestSharesFollowTheFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, bob := w.user("ada"), w.user("bob")
	w.group("g", ada, bob)
	path := w.file("f.bin", 100_000)
	first, _, err := ada.Share(t.Context(), "g", path, nil)
	w.ok(err)
	w.ok(os.WriteFile(path, []byte("something new"), 0o644))
	if s := ada.onlyShare(); s.State != "stopped" || s.Reason == "" {
		t.Errorf("the changed file is listed as %+v", s)
	}
	second, _, err := ada.Share(t.Context(), "g", path, nil)
	w.ok(err)
	if second.ID == first.ID || second.Name != first.Name {
		t.Errorf("got %+v after %+v", second, first)
	}
	w.same(bob.download("g", "f.bin"), path)
	if s := ada.onlyShare(); s.State != "sharing" {
		t.Errorf("the new content is listed as %+v", s)
	}
	_, err = bob.Unshare(t.Context(), "g", "f.bin")
	w.ok(err)
	_, err = ada.Unshare(t.Context(), "G", "F.bin")
	w.ok(err)
	w.eventually("nobody offers it", func() bool {
		files, err := ada.Files(t.Context(), "g")
		return err == nil && !slices.ContainsFunc(files, func(f node.File) bool { return f.Seeders > 0 })
	})
}
