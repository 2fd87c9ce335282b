package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
	"github.com/p2pshare/p2pshare/tracker/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMem(t *testing.T) {
	storetest.Run(t, false, func(*testing.T) store.Store { return store.NewMem() })
}

func TestBolt(t *testing.T) {
	dirs := map[string]string{}
	storetest.Run(t, true, func(t *testing.T) store.Store {
		if dirs[t.Name()] == "" {
			dirs[t.Name()] = t.TempDir()
		}
		return openBolt(t, filepath.Join(dirs[t.Name()], "catalog.db"))
	})
}

func openBolt(t *testing.T, path string) *store.Bolt {
	t.Helper()
	s, err := store.OpenBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBoltIsPrivateAndComplete(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "catalog.db")
	// What a crash during an earlier creation left is in nobody's way.
	if err := os.WriteFile(path+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openBolt(t, path)
	defer func() { _ = s.Close() }()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "catalog.db" {
		t.Fatalf("folder holds %v (%v), want the catalog alone", entries, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		t.Errorf("mode %v, err %v: want no access for others", info.Mode(), err)
	}
}

func TestBoltLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	s := openBolt(t, path)
	_, err := store.OpenBolt(path)
	if !errors.Is(err, protocol.ErrLocked) {
		t.Errorf("second open = %v, want E_LOCKED", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := openBolt(t, path).Close(); err != nil {
		t.Errorf("open after close: %v", err)
	}
}

// TestBoltDamaged flips and cuts a file in many places: it is either refused
// with E_STATE or read without a difference, and never kills the process. Only
// where the newest meta page is hit, which is how a power cut may leave it, the
// last commit may be gone.
func TestBoltDamaged(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.db")
	s := openBolt(t, good)
	var states []map[string]string
	state := map[string]string{}
	for n := range 4 {
		var batch store.Batch
		for i := range 300 {
			k, v := fmt.Sprintf("key/%04d/%d", i*7%300, n), bytes.Repeat([]byte{byte(i)}, 60)
			state[k] = string(v)
			batch.Put = append(batch.Put, store.Record{Key: k, Value: v})
		}
		if err := s.Commit(batch); err != nil {
			t.Fatal(err)
		}
		states = append(states, maps.Clone(state))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string][]byte{"empty": {}, "one byte": {0}, "text": bytes.Repeat([]byte("not a catalog\n"), 4000)}
	for _, n := range []int{100, 4096, 8192, 3 * 4096, 5 * 4096, len(whole) / 2} {
		cases[fmt.Sprintf("cut at %d", n)] = whole[:min(n, len(whole))]
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		b := bytes.Clone(whole)
		page, in := rng.IntN(len(b)/4096), rng.IntN(4096)
		if rng.IntN(2) == 0 {
			in %= 160 // where pages keep their headers and the places of what they hold
		}
		at, mask := page*4096+in, byte(1)<<rng.IntN(8)
		b[at] ^= mask
		cases[fmt.Sprintf("flip %#x at %d", mask, at)] = b
	}
	refused := 0
	for name, content := range cases {
		path := filepath.Join(dir, "bad.db")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := store.OpenBolt(path)
		if err != nil {
			if protocol.CodeOf(err) != protocol.CodeState || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %v, want E_STATE that names the file", name, err)
			}
			refused++
			continue
		}
		// What is used and thought to be free shows when it is written.
		want := states[len(states)-1]
		if got := allRecords(t, s); maps.Equal(got, states[len(states)-2]) && strings.HasPrefix(name, "flip") {
			want = states[len(states)-2]
		} else if !maps.Equal(got, want) {
			t.Errorf("%s: %d facts instead of %d, and nobody noticed", name, len(got), len(want))
		}
		after := maps.Clone(want)
		for n := range 2 {
			var batch store.Batch
			for i := range 100 {
				k := fmt.Sprintf("key/%04d/later", i+100*n)
				after[k] = "x"
				batch.Put = append(batch.Put, store.Record{Key: k, Value: []byte("x")})
			}
			if err := s.Commit(batch); err != nil {
				t.Errorf("%s: commit: %v", name, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
		s = openBolt(t, path)
		if got := allRecords(t, s); !maps.Equal(got, after) {
			t.Errorf("%s: %d facts instead of %d after some commits", name, len(got), len(after))
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	}
	if refused < len(cases)/8 {
		t.Errorf("only %d of %d damaged files refused", refused, len(cases))
	}
	t.Logf("%d of %d damaged files refused", refused, len(cases))
}

func allRecords(t *testing.T, s store.Store) map[string]string {
	t.Helper()
	got := map[string]string{}
	if err := s.Records(func(r store.Record) error { got[r.Key] = string(r.Value); return nil }); err != nil {
		t.Error(err)
	}
	return got
}

func TestBoltStaysSmall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	s := openBolt(t, path)
	defer func() { _ = s.Close() }()
	const updates, keys, atOnce = 20_000, 100, 40
	for n := 0; n < updates; n += atOnce {
		var batch store.Batch
		for i := range atOnce {
			k := fmt.Sprintf("share/%032d/%064d", (n+i)%keys, (n+i)%keys)
			batch.Put = append(batch.Put, store.Record{Key: k, Value: bytes.Repeat([]byte{byte(n)}, 100)})
		}
		if err := s.Commit(batch); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 5<<20 {
		t.Errorf("the file has %d bytes after %d updates of %d facts, want less than 5 MB", info.Size(), updates, keys)
	}
	t.Logf("%d bytes", info.Size())
}
