package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
// with E_STATE or read without a difference, and never kills the process.
func TestBoltDamaged(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.db")
	s := openBolt(t, good)
	want := map[string]string{}
	var batch store.Batch
	for i := range 300 {
		k, v := fmt.Sprintf("key/%04d", i), bytes.Repeat([]byte{byte(i)}, 60)
		want[k] = string(v)
		batch.Put = append(batch.Put, store.Record{Key: k, Value: v})
	}
	if err := errors.Join(s.Commit(batch), s.Close()); err != nil {
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
	for at := 0; at < len(whole); at += 997 {
		b := bytes.Clone(whole)
		b[at] ^= 0x55
		cases[fmt.Sprintf("flip at %d", at)] = b
	}
	refused := 0
	for name, content := range cases {
		path := filepath.Join(dir, "bad.db")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := store.OpenBolt(path)
		if err != nil {
			if protocol.CodeOf(err) != protocol.CodeState {
				t.Errorf("%s: %v, want E_STATE", name, err)
			}
			refused++
			continue
		}
		got := map[string]string{}
		err = s.Records(func(r store.Record) error { got[r.Key] = string(r.Value); return nil })
		if err != nil && protocol.CodeOf(err) != protocol.CodeState {
			t.Errorf("%s: records: %v", name, err)
		}
		for k, v := range got {
			if err == nil && want[k] != v {
				t.Errorf("%s: %q has another value and nobody noticed", name, k)
			}
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	}
	if refused < 10 {
		t.Errorf("only %d of %d damaged files refused", refused, len(cases))
	}
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
