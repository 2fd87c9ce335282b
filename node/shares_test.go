package node_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
)

// A fault that may pass does not end a share: here the path leads nowhere for
// a while, other than by the file being gone.
func TestPassingFaultKeepsTheShare(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, bob := w.user("ada"), w.user("bob")
	w.group("g", ada, bob)
	path := w.file("f.bin", 100_000)
	_, _, err := ada.Share(t.Context(), "g", path, nil)
	w.ok(err)
	w.ok(os.Rename(path, path+".away"))
	w.ok(os.Symlink(path, path)) // a loop
	shares, err := ada.Shares()
	w.ok(err)
	if len(shares) != 1 || shares[0].State != "sharing" {
		t.Errorf("during the fault: %+v", shares)
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
	ada, seeding := w.stalling("ada")
	bob := w.user("bob")
	w.group("g", ada, bob)
	d := w.running(ada, bob)
	taken := filepath.Join(w.folder("downloads-bob"), "big.bin")
	w.ok(os.WriteFile(taken, []byte("mine"), 0o644))
	close(seeding.release)
	_, err := d.Wait(t.Context())
	w.want(err, protocol.CodeTargetExists)
	d, err = bob.Download(t.Context(), "g", "big.bin", filepath.Join(filepath.Dir(taken), "other.bin"))
	w.ok(err)
	res := bob.finish(d)
	w.same(res, filepath.Join(w.folder("files"), "big.bin"))
	if len(res.Peers) != 0 {
		t.Errorf("pieces came again: %+v", res.Peers)
	}
}
