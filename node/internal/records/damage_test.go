package records_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/p2pshare/p2pshare/internal/frugal"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

// filled makes records with several pages in some buckets and returns the file.
func filled(t testing.TB, dir string) []byte {
	t.Helper()
	r, err := records.Open(dir)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	must(r.SetSession(&records.Session{Envelope: []byte("secret"), User: ada, Name: "ada"}))
	must(r.SetPending([][]byte{{1}}))
	for i := range 40 {
		f := protocol.FileID{byte(i)}
		must(r.PutShare(share(ada, f)))
		if i < 4 {
			must(r.PutDownload(download(ada, f, int64(i))))
			must(r.Journal(ada, group, f).Save(bytes.Repeat([]byte{byte(i)}, 3000)))
		}
	}
	must(r.PutManifest(files[1], bytes.Repeat([]byte("m"), 10_000)))
	must(r.Close())
	b, err := os.ReadFile(filepath.Join(dir, "records.db"))
	must(err)
	return b
}

// survivors opens damaged records and checks that what they still hold is what
// was stored; it returns how many records that are.
func survivors(t *testing.T, dir string) (n int, told string) {
	t.Helper()
	r, err := records.Open(dir)
	if err != nil {
		t.Fatalf("Open of a damaged file: %v", err)
	}
	defer r.Close()
	if s, err := r.Session(); err != nil || s != nil && string(s.Envelope) != "secret" {
		t.Errorf("Session = %+v, %v", s, err)
	} else if s != nil {
		n++
	}
	pending, err := r.Pending()
	if err != nil || len(pending) > 1 || len(pending) == 1 && !bytes.Equal(pending[0], []byte{1}) {
		t.Errorf("Pending = %v, %v", pending, err)
	}
	shares, err := r.Shares(ada)
	check(t, err)
	for _, s := range shares {
		if !reflect.DeepEqual(s, share(ada, s.File)) {
			t.Errorf("share = %+v", s)
		}
	}
	downloads, err := r.Downloads(ada)
	check(t, err)
	for _, d := range downloads {
		if !reflect.DeepEqual(d, download(ada, d.File, int64(d.File[0]))) {
			t.Errorf("download = %+v", d)
		}
	}
	n += len(pending) + len(shares) + len(downloads)
	for i := range byte(4) {
		bits, err := r.Journal(ada, group, protocol.FileID{i}).Load()
		if err != nil || bits != nil && !bytes.Equal(bits, bytes.Repeat([]byte{i}, 3000)) {
			t.Errorf("journal %d = %d bytes, %v", i, len(bits), err)
		} else if bits != nil {
			n++
		}
	}
	if m, err := r.Manifest(files[1]); err != nil || m != nil && !bytes.Equal(m, bytes.Repeat([]byte("m"), 10_000)) {
		t.Errorf("manifest = %d bytes, %v", len(m), err)
	} else if m != nil {
		n++
	}
	// What was opened can be written to.
	check(t, r.PutShare(share(bob, files[0])))
	return n, r.Damaged()
}

const allRecords = 1 + 1 + 40 + 4 + 4 + 1

func TestDamagedFile(t *testing.T) {
	whole := filled(t, t.TempDir())
	flip := func(at int) []byte {
		b := bytes.Clone(whole)
		b[at] ^= 0x10
		return b
	}
	tests := map[string][]byte{
		"empty":       {},
		"zeros":       make([]byte, len(whole)),
		"text":        []byte("this is no file of records"),
		"one page":    whole[:4096],
		"cut in half": whole[:len(whole)/2],
		"both metas":  append(make([]byte, 8192), whole[8192:]...),
	}
	for at := 0; at < len(whole); at += len(whole)/40 + 1 {
		tests[fmt.Sprintf("flip at %d", at)] = flip(at)
	}
	for at := 16; at < len(whole); at += 4096 { // where the pages say what they hold
		tests[fmt.Sprintf("flip at %d", at)] = flip(at)
	}
	for name, damaged := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			check(t, os.WriteFile(filepath.Join(dir, "records.db"), damaged, 0o600))
			n, told := survivors(t, dir)
			kept, err := os.ReadFile(filepath.Join(dir, "records.db.bad"))
			switch {
			case told == "" && n < allRecords-4: // the last transaction may be undone by a damaged meta page
				t.Errorf("%d of %d records are left and nothing was said", n, allRecords)
			case told == "" && !os.IsNotExist(err):
				t.Errorf("a sound file was set aside: %v", err)
			case told != "" && !bytes.Equal(kept, damaged):
				t.Errorf("the damaged file was not kept: %d bytes, %v", len(kept), err)
			}
			if _, told := survivors(t, dir); told != "" {
				t.Errorf("damaged again: %s", told)
			}
		})
	}
}

// One damaged record costs no other.
func TestDamagedRecordCostsNoOther(t *testing.T) {
	dir := t.TempDir()
	whole := filled(t, dir)
	at := bytes.LastIndex(whole, bytes.Repeat([]byte("m"), 5000))
	whole[at] ^= 1
	check(t, os.WriteFile(filepath.Join(dir, "records.db"), whole, 0o600))
	if n, told := survivors(t, dir); n != allRecords-1 || told == "" {
		t.Errorf("%d records survived, told %q, want %d", n, told, allRecords-1)
	}
}

// A list of free pages in the file, which another program has put there, is not
// believed: a damaged one would let a page be used twice.
func TestListOfFreePages(t *testing.T) {
	dir := t.TempDir()
	filled(t, dir)
	path := filepath.Join(dir, "records.db")
	db, err := bbolt.Open(path, 0o600, nil)
	check(t, err)
	check(t, db.Close())
	whole, err := os.ReadFile(path)
	check(t, err)
	for at := 2 * 4096; at < len(whole); at += 8 {
		if at%4096 > 16 { // the list has an id, its flags, and what is free
			continue
		}
		damaged := bytes.Clone(whole)
		damaged[at] ^= 0x81
		check(t, os.WriteFile(path, damaged, 0o600))
		if _, told := survivors(t, dir); told == "" {
			t.Errorf("byte %d changed: the list is believed", at)
		}
	}
	check(t, os.WriteFile(path, whole, 0o600))
	if n, told := survivors(t, dir); n != allRecords || !strings.Contains(told, "list of free pages") {
		t.Errorf("%d records, told %q", n, told)
	}
}

// No single flipped byte and no truncation makes a file pass that lacks a record.
func TestInspectEveryByte(t *testing.T) {
	whole := filled(t, t.TempDir())
	all, fault := records.Inspect(bytes.NewReader(whole))
	if fault != nil {
		t.Fatalf("Inspect of a sound file: %v", fault)
	}
	b := bytes.Clone(whole)
	for at := range b {
		if at%97 != 0 && at%4096 > 48 {
			continue // some bytes, and all heads of pages
		}
		b[at] ^= 0x81
		if n, fault := records.Inspect(bytes.NewReader(b)); fault == nil && n < all-1 {
			t.Fatalf("flipped byte %d: %d of %d records and no fault", at, n, all)
		}
		b[at] = whole[at]
	}
	for size := 0; size < len(whole); size += 1000 {
		if n, fault := records.Inspect(bytes.NewReader(whole[:size])); fault == nil && n < all-1 {
			t.Fatalf("cut to %d bytes: %d of %d records and no fault", size, n, all)
		}
	}
}

func TestLeftoverOfCrash(t *testing.T) {
	dir := t.TempDir()
	filled(t, dir)
	for _, left := range []string{"records.db.new", "records.db.bad"} {
		check(t, os.WriteFile(filepath.Join(dir, left), []byte("torn"), 0o600))
	}
	if n, told := survivors(t, dir); n != allRecords || told != "" {
		t.Errorf("%d records, told %q, want all", n, told)
	}
}

func TestSpoiledJournal(t *testing.T) {
	tests := []struct {
		name   string
		change func([]byte) []byte
	}{
		{"flipped bit", func(v []byte) []byte { v[len(v)-1] ^= 1; return v }},
		{"flipped checksum", func(v []byte) []byte { v[0] ^= 1; return v }},
		{"truncated", func(v []byte) []byte { return v[:len(v)-1] }},
		{"empty", func([]byte) []byte { return []byte{} }},
		{"longer", func(v []byte) []byte { return append(v, 0) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := open(t, t.TempDir())
			defer r.Close()
			j := r.Journal(ada, group, files[0])
			check(t, j.Save([]byte{0xff, 0x80}))
			check(t, r.Spoil(tt.change))
			if bits, err := j.Load(); protocol.CodeOf(err) != protocol.CodeState || bits != nil {
				t.Errorf("Load = %x, %v, want E_STATE", bits, err)
			}
			check(t, j.Save([]byte{1}))
			if bits, err := j.Load(); err != nil || !bytes.Equal(bits, []byte{1}) {
				t.Errorf("Load after another Save = %x, %v", bits, err)
			}
		})
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte("key"), []byte{})
	f.Add([]byte("key"), []byte{0, 0, 0, 0})
	f.Add([]byte{}, records.Seal([]byte{}, []byte{0x80}))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		defer frugal.Check(t)()
		payload, ok := records.Unseal(key, value)
		if ok && !bytes.Equal(records.Seal(key, payload), value) {
			t.Errorf("Unseal took %x, which Seal does not make", value)
		}
		back, ok := records.Unseal(key, records.Seal(key, value))
		if !ok || !bytes.Equal(back, value) {
			t.Errorf("Unseal(Seal(%x)) = %x, %v", value, back, ok)
		}
	})
}

func FuzzInspect(f *testing.F) {
	whole := filled(f, f.TempDir())
	f.Add(0, []byte{}, len(whole))
	f.Add(8192, []byte{1, 2, 3}, len(whole))
	f.Add(100, []byte{255, 255, 255, 255}, 20_000)
	f.Fuzz(func(t *testing.T, at int, patch []byte, size int) {
		defer frugal.Check(t)()
		b := bytes.Clone(whole[:min(max(size, 0), len(whole))])
		if at >= 0 && at < len(b) {
			copy(b[at:], patch)
		}
		if _, fault := records.Inspect(bytes.NewReader(b)); fault != nil && fault.Error() == "" {
			t.Error("a fault without words")
		}
	})
}
