package node_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

// damage spoils records in one way.
type damage struct {
	how string
	do  func(w *world, path string)
}

// damagedRecords ends a client in the middle of a download and damages its
// records, in each of the ways anew; each time it starts, verifies what it has,
// fetches only what it had not, and finishes. That no change of a byte and no
// truncation passes for sound is a test of package records.
func damagedRecords(t *testing.T, random int, buckets ...string) {
	t.Helper()
	w := newWorld(t, 1)
	_, bob, d, release := w.midTransfer()
	w.ok(d.Pause(t.Context())) // which journals what is there
	missing := int(d.Progress().Total-d.Progress().Done) / protocol.MinPieceLength
	w.ok(d.Resume())
	w.ok(bob.Close())
	release()
	source := w.source("big.bin")
	data, downloads := w.folder("data-bob"), w.folder("downloads-bob")
	dirs := []string{data, downloads}
	for _, dir := range dirs {
		w.ok(os.CopyFS(w.folder("kept-"+filepath.Base(dir)), os.DirFS(dir)))
	}
	all := w.damages(filepath.Join(w.folder("data-bob"), "records.db"), random, buckets)
	lost := 0
	for _, damage := range all {
		for _, dir := range dirs {
			w.ok(os.RemoveAll(dir))
			w.ok(os.CopyFS(dir, os.DirFS(filepath.Join(w.dir, "kept-"+filepath.Base(dir)))))
			w.ok(os.Chmod(dir, 0o700))
		}
		w.chmodKey(data)
		damage.do(w, filepath.Join(data, "records.db"))
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
			if p.Pieces > missing {
				t.Errorf("%d pieces were fetched, and %d not on disk", p.Pieces, missing)
			}
		}
		if left := bob.partials(); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if loggedIn != nil { // a user has few sessions, and the one of the records is needed
			_, err := bob.Logout(t.Context())
			w.ok(err)
		}
		w.ok(bob.Close())
		if t.Failed() {
			t.Fatalf("after %s", damage.how)
		}
	}
	t.Logf("%d damages, %d of which cost the login", len(all), lost)
}

// damages truncates every value in some buckets at each length and changes each
// of its bytes; so many more are of the file, anywhere.
func (w *world) damages(path string, random int, buckets []string) (all []damage) {
	w.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true})
	w.ok(err)
	for _, bucket := range buckets {
		n := len(all)
		w.ok(db.View(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(bucket)).ForEach(func(key, value []byte) error {
				key = slices.Clone(key)
				for at := range value {
					cut, changed := slices.Clone(value[:at]), slices.Clone(value)
					changed[at] ^= 0x10
					all = append(all,
						damage{fmt.Sprintf("a value in %s cut at %d", bucket, at), put(bucket, key, cut)},
						damage{fmt.Sprintf("byte %d of a value in %s changed", at, bucket), put(bucket, key, changed)})
				}
				return nil
			})
		}))
		if len(all) == n {
			w.Fatalf("there is nothing in %s", bucket)
		}
	}
	w.ok(db.Close())
	whole, err := os.ReadFile(path)
	w.ok(err)
	seed := rand.Uint64()
	w.Logf("seed %d, records of %d bytes", seed, len(whole))
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range random {
		damaged, how := spoilt(rng, whole, i)
		all = append(all, damage{how, func(w *world, path string) { w.ok(os.WriteFile(path, damaged, 0o600)) }})
	}
	return all
}

// put replaces a value, its checksum left as it is in it.
func put(bucket string, key, value []byte) func(w *world, path string) {
	return func(w *world, path string) {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true})
		w.ok(err)
		w.ok(db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucket)).Put(key, value) }))
		w.ok(db.Close())
	}
}

// spoilt truncates or changes a byte, in turns.
func spoilt(rng *rand.Rand, whole []byte, i int) (damaged []byte, how string) {
	at := rng.IntN(len(whole))
	if rng.IntN(2) == 0 {
		at = at / 4096 * 4096 // where pages begin there is most to be spoiled
		at += rng.IntN(48)
	}
	if i%2 == 0 {
		return whole[:at], fmt.Sprintf("a truncation at %d", at)
	}
	damaged = slices.Clone(whole)
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
	return c.begin(group, name)
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
	damagedRecords(t, 4, "journals")
}

func TestLongDamagedRecords(t *testing.T) {
	if os.Getenv("P2PSHARE_LONG") == "" {
		t.Skip("takes minutes: run it with make long")
	}
	damagedRecords(t, 200, "journals", "downloads")
}
