package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
	"github.com/p2pshare/p2pshare/tracker/internal/store/crashtest"
	"github.com/p2pshare/p2pshare/tracker/internal/store/storetest"
)

func TestDiskIsAStore(t *testing.T) {
	dirs := map[string]string{}
	storetest.Run(t, true, func(t *testing.T) store.Store {
		if dirs[t.Name()] == "" {
			dirs[t.Name()] = t.TempDir()
		}
		d, err := crashtest.Open(filepath.Join(dirs[t.Name()], "catalog.db"), crashtest.NewPower(1))
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

// Of a commit within which the power failed there is all or nothing, of those
// before it everything, cut after cut of one file.
func TestPowerCuts(t *testing.T) { powerCuts(t, 60) }

func TestLongPowerCuts(t *testing.T) {
	if os.Getenv("P2PSHARE_LONG") == "" {
		t.Skip("takes a minute: run it with make long")
	}
	powerCuts(t, 1000)
}

func powerCuts(t *testing.T, cuts int) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng, power := rand.New(rand.NewPCG(seed, 1)), crashtest.NewPower(seed)
	d, err := crashtest.Open(filepath.Join(t.TempDir(), "catalog.db"), power)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	have := map[string]string{}
	blobs := map[protocol.FileID]int{}
	kept, tries := 0, 0
	for cut := range cuts {
		power.CutIn(1 + rng.IntN(6))
		for {
			next := maps.Clone(have)
			b := randomBatch(rng, next)
			tries++ // an id stands for one content, also where nobody can tell if it was kept
			id := protocol.FileID{byte(tries), byte(tries >> 8), byte(tries >> 16)}
			if rng.IntN(4) == 0 {
				b.Blobs = map[protocol.FileID][]byte{id: bytes.Repeat([]byte{1}, 1+rng.IntN(3*protocol.BlobChunk))}
			}
			err := d.Commit(b)
			if err == nil {
				have = next
				for id, blob := range b.Blobs {
					blobs[id] = len(blob)
				}
				continue
			}
			if !errors.Is(err, crashtest.ErrNoPower) {
				t.Fatal(err)
			}
			if _, err := d.Meta("x"); !errors.Is(err, crashtest.ErrNoPower) {
				t.Fatalf("a disk without power answers: %v", err)
			}
			if err := d.Restart(); err != nil {
				t.Fatalf("cut %d: the file does not open: %v", cut, err)
			}
			got := map[string]string{}
			if err := d.Records(func(r store.Record) error { got[r.Key] = string(r.Value); return nil }); err != nil {
				t.Fatalf("cut %d: %v", cut, err)
			}
			if maps.Equal(got, next) && !maps.Equal(have, next) {
				kept++
				have = next
				for id, blob := range b.Blobs {
					blobs[id] = len(blob)
				}
			}
			if !maps.Equal(got, have) {
				t.Fatalf("cut %d: %d facts, neither the %d of before nor those of the commit", cut, len(got), len(have))
			}
			break
		}
		for id, n := range blobs {
			if b, ok, err := d.Blob(id); err != nil || !ok || len(b) != n {
				t.Fatalf("cut %d: a manifest has %d bytes, ok %v, err %v, want %d", cut, len(b), ok, err, n)
			}
		}
	}
	if kept == 0 || kept == cuts {
		t.Errorf("the last commit was kept in %d of %d cuts, want some", kept, cuts)
	}
}

// randomBatch changes facts, and the map with them.
func randomBatch(rng *rand.Rand, have map[string]string) (b store.Batch) {
	for range 1 + rng.IntN(30) {
		k := fmt.Sprintf("key/%04d", rng.IntN(500))
		if rng.IntN(5) == 0 {
			if _, put := have[k]; put && !batchPuts(b, k) {
				b.Delete = append(b.Delete, k)
				delete(have, k)
			}
			continue
		}
		v := bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(600))
		b.Put = append(b.Put, store.Record{Key: k, Value: v})
		have[k] = string(v)
	}
	return b
}

func batchPuts(b store.Batch, key string) bool {
	for _, r := range b.Put {
		if r.Key == key {
			return true
		}
	}
	return false
}
