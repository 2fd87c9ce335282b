package store_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// What is damaged while the file is open is E_STATE to whoever comes upon it, and
// nothing of it is given out.
func TestBoltDamagedWhileOpen(t *testing.T) {
	id := protocol.FileID{7}
	blob := bytes.Repeat([]byte("a description "), 4000)
	readFacts := func(s *store.Bolt) error { return s.Records(func(store.Record) error { return nil }) }
	readBlob := func(s *store.Bolt) error { _, _, err := s.Blob(id); return err }
	write := func(s *store.Bolt) error {
		return s.Commit(store.Batch{Put: []store.Record{{Key: "key/0300", Value: []byte("new")}}})
	}
	inLeaves := func(b []byte) {
		for at := 2 * os.Getpagesize(); at < len(b); at += os.Getpagesize() {
			if binary.NativeEndian.Uint16(b[at+8:]) == 0x02 {
				b[at+8] = 0x40 // no kind of page
			}
		}
	}
	for name, c := range map[string]struct {
		damage func([]byte)
		use    func(*store.Bolt) error
	}{
		"a fact":                      {func(b []byte) { flipAll(b, []byte("fact 0123")) }, readFacts},
		"a manifest":                  {func(b []byte) { flipAll(b, blob[:64]) }, readBlob},
		"pages that facts are on":     {inLeaves, readFacts},
		"pages that manifests are on": {inLeaves, readBlob},
		"pages to write to":           {inLeaves, write},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "catalog.db")
			s := openBolt(t, path)
			defer func() { _ = s.Close() }()
			batch := store.Batch{Blobs: map[protocol.FileID][]byte{id: blob}}
			for i := range 600 {
				n := string([]byte{'0' + byte(i/1000), '0' + byte(i/100%10), '0' + byte(i/10%10), '0' + byte(i%10)})
				batch.Put = append(batch.Put, store.Record{Key: "key/" + n, Value: []byte("fact " + n)})
			}
			if err := s.Commit(batch); err != nil {
				t.Fatal(err)
			}
			if err := c.use(s); err != nil {
				t.Fatalf("before the damage: %v", err)
			}
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c.damage(content)
			rewrite(t, path, content)
			err = c.use(s)
			if protocol.CodeOf(err) != protocol.CodeState || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want E_STATE that names the file", err)
			}
		})
	}
}

// flipAll damages each copy of some bytes: old pages may hold some too.
func flipAll(b, what []byte) {
	for at := 0; ; at++ {
		i := bytes.Index(b[at:], what)
		if i < 0 {
			return
		}
		at += i
		b[at] ^= 1
	}
}

// rewrite changes a file in place, under whoever has it open.
func rewrite(t *testing.T, path string, content []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
}
