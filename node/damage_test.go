package node_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/p2pshare/p2pshare/node"
)

// damagedRecords ends a client in the middle of a download and damages its
// records in so many ways; each time it starts, verifies what it has, and
// finishes. That no damage of one byte and no truncation passes for sound is a
// test of package records.
func damagedRecords(t *testing.T, ways int) {
	t.Helper()
	w := newWorld(t, 1)
	ada, seeding := w.stalling("ada")
	bob := w.user("bob")
	w.group("g", ada, bob)
	d := w.running(ada, bob)
	w.ok(d.Pause(t.Context())) // which journals what is there
	w.ok(d.Resume())
	w.ok(bob.Close())
	close(seeding.release)
	source := filepath.Join(w.folder("files"), "big.bin")
	data, downloads := w.folder("data-bob"), w.folder("downloads-bob")
	dirs := []string{data, downloads}
	for _, dir := range dirs {
		w.ok(os.CopyFS(w.folder("kept-"+filepath.Base(dir)), os.DirFS(dir)))
	}
	whole, err := os.ReadFile(filepath.Join(data, "records.db"))
	w.ok(err)
	seed := rand.Uint64()
	t.Logf("seed %d, records of %d bytes", seed, len(whole))
	rng := rand.New(rand.NewPCG(seed, 0))
	lost := 0
	for i := range ways {
		for _, dir := range dirs {
			w.ok(os.RemoveAll(dir))
			w.ok(os.CopyFS(dir, os.DirFS(filepath.Join(w.dir, "kept-"+filepath.Base(dir)))))
			w.ok(os.Chmod(dir, 0o700))
		}
		damaged, how := damage(rng, whole, i)
		w.ok(os.WriteFile(filepath.Join(data, "records.db"), damaged, 0o600))
		w.ok(os.Chmod(filepath.Join(data, "records.db"), 0o600))
		w.chmodKey(data)
		bob := w.node("bob")
		_, loggedIn := bob.User()
		if loggedIn != nil {
			lost++
			w.retry("bob may log in", func() error {
				_, err := bob.Login(t.Context(), "bob", "password of bob")
				return err
			})
		}
		res := bob.finish(w.again(bob, "g", "big.bin"))
		w.same(res, source)
		for _, p := range res.Peers {
			if p.Pieces > 16 {
				t.Errorf("%s: %d pieces were fetched", how, p.Pieces)
			}
		}
		if left := bob.partials(); len(left) > 0 {
			t.Errorf("%s: left behind: %v", how, left)
		}
		if loggedIn != nil { // a user has few sessions, and the one of the records is needed
			_, err := bob.Logout(t.Context())
			w.ok(err)
		}
		w.ok(bob.Close())
		if t.Failed() {
			t.Fatalf("after %s", how)
		}
	}
	t.Logf("%d damages, %d of which cost the login", ways, lost)
}

// damage truncates or changes a byte, in turns.
func damage(rng *rand.Rand, whole []byte, i int) (damaged []byte, how string) {
	at := rng.IntN(len(whole))
	if rng.IntN(2) == 0 {
		at = at / 4096 * 4096 // where pages begin there is most to be spoiled
		at += rng.IntN(48)
	}
	if i%2 == 0 {
		return whole[:at], fmt.Sprintf("a truncation at %d", at)
	}
	damaged = append([]byte(nil), whole...)
	damaged[at] ^= byte(1 + rng.IntN(255))
	return damaged, fmt.Sprintf("a change of byte %d", at)
}

// again returns the download that goes on by itself, or begins it once more.
func (w *world) again(c *client, group, name string) *node.Download {
	w.Helper()
	all, err := c.Downloads()
	w.ok(err)
	for _, d := range all {
		if p := d.Progress(); p.Name == name && p.State != node.Failed {
			w.ok(d.Resume()) // it was paused before its last record
			return d
		}
	}
	return w.begin(c, group, name)
}

// chmodKey makes the copy of a data folder as private as the folder was.
func (w *world) chmodKey(dir string) {
	w.Helper()
	entries, err := os.ReadDir(dir)
	w.ok(err)
	for _, e := range entries {
		if !e.IsDir() {
			w.ok(os.Chmod(filepath.Join(dir, e.Name()), 0o600))
		}
	}
}

func TestDamagedRecords(t *testing.T) {
	t.Parallel()
	damagedRecords(t, 10)
}

func TestLongDamagedRecords(t *testing.T) {
	if os.Getenv("P2PSHARE_LONG") == "" {
		t.Skip("takes minutes: run it with make long")
	}
	damagedRecords(t, 200)
}
