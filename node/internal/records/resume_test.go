package records_test

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/zeebo/blake3"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

// interrupted is a download of which some pieces are there.
type interrupted struct {
	manifest *protocol.Manifest
	content  []byte
	target   filestore.Target
	have     []byte // its bitfield
	record   records.Download
	records  []byte // the file of the records
	part     []byte // the partial file
}

func interrupt(t *testing.T, dir string) interrupted {
	t.Helper()
	const length, written = 4096, 7
	d := interrupted{content: make([]byte, 12*length+9)}
	_, _ = rand.NewChaCha8([32]byte{8}).Read(d.content)
	d.manifest = &protocol.Manifest{Name: "a file", Size: int64(len(d.content)), PieceLength: length, SHA1: sha1.Sum(d.content)}
	for piece := range slices.Chunk(d.content, length) {
		d.manifest.Pieces = append(d.manifest.Pieces, protocol.PieceHash{SHA1: sha1.Sum(piece), BLAKE3: blake3.Sum256(piece)})
	}
	r := open(t, dir)
	p, err := openDownload(dir, d.manifest, r)
	check(t, err)
	for i := range written {
		d.write(t, p, i)
	}
	_, d.have = p.Have()
	check(t, p.Close())
	d.target, err = filestore.ResolveTarget(dir, "", d.manifest.Name, d.manifest.ID(), "client")
	check(t, err)
	d.record = download(ada, d.manifest.ID(), 1)
	check(t, r.PutManifest(d.manifest.ID(), d.manifest.Encode()))
	check(t, r.PutDownload(d.record))
	check(t, r.Close())
	d.records, err = os.ReadFile(filepath.Join(dir, "records.db"))
	check(t, err)
	d.part, err = os.ReadFile(filepath.Join(dir, d.target.Part))
	check(t, err)
	return d
}

func (d *interrupted) write(t *testing.T, p *filestore.Partial, i int) {
	t.Helper()
	check(t, p.Store(i, d.content[d.manifest.PieceOffset(i):][:d.manifest.PieceSize(i)]))
}

// resume goes on with these records in place of its own, to the end.
func (d *interrupted) resume(t *testing.T, dir string, damaged []byte) {
	t.Helper()
	check(t, errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700),
		os.WriteFile(filepath.Join(dir, "records.db"), damaged, 0o600), os.WriteFile(filepath.Join(dir, d.target.Part), d.part, 0o600)))
	r, err := records.Open(dir)
	check(t, err)
	all, err := r.Downloads(ada)
	if err != nil || len(all) > 1 || len(all) == 1 && !reflect.DeepEqual(all[0], d.record) {
		t.Errorf("downloads %+v, %v", all, err)
	}
	if m, err := r.Manifest(d.manifest.ID()); err != nil || m != nil && !bytes.Equal(m, d.manifest.Encode()) {
		t.Errorf("manifest of %d bytes, %v", len(m), err)
	}
	p, err := openDownload(dir, d.manifest, r)
	check(t, err)
	if _, have := p.Have(); !bytes.Equal(have, d.have) {
		t.Errorf("it goes on with %x, want %x", have, d.have)
	}
	for i := range d.manifest.Pieces {
		if d.have[i/8]&(0x80>>(i%8)) == 0 {
			d.write(t, p, i)
		}
	}
	path, _, missing, err := p.Finish(t.Context())
	if err != nil || len(missing) > 0 {
		t.Fatalf("Finish = %v, %v", missing, err)
	}
	check(t, errors.Join(p.Close(), r.Close()))
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, d.content) {
		t.Errorf("the finished file is wrong (%v)", err)
	}
}

// resumeFromDamage truncates the records at each length that counts, and changes
// each such byte: the download starts, trusts nothing that is not on disk, loses
// nothing that is, and ends with the right file.
func resumeFromDamage(t *testing.T, counts func(at int) bool) {
	t.Helper()
	base := t.TempDir()
	// Each try syncs a dozen times: in memory, where that can be.
	if memory, err := os.MkdirTemp("/dev/shm", "p2pshare-test-"); err == nil { //nolint:usetesting // TempDir is on a disk
		base = memory
		t.Cleanup(func() { check(t, os.RemoveAll(memory)) })
	}
	d := interrupt(t, filepath.Join(base, "first"))
	dir := filepath.Join(base, "life")
	tried := 0
	for at := range d.records {
		if !counts(at) {
			continue
		}
		tried++
		changed := bytes.Clone(d.records)
		changed[at] ^= 0x81
		d.resume(t, dir, changed)
		d.resume(t, dir, d.records[:at])
		if t.Failed() {
			t.Fatalf("byte %d of %d changed, or all from there on cut off", at, len(d.records))
		}
	}
	t.Logf("%d bytes of %d changed, and as many truncations", tried, len(d.records))
}

func TestResumeFromDamage(t *testing.T) {
	resumeFromDamage(t, func(at int) bool { return at%401 == 0 || at%4096 < 48 && at%12 == 0 })
}

func TestLongResumeFromEveryDamage(t *testing.T) {
	if os.Getenv("P2PSHARE_LONG") == "" {
		t.Skip("takes minutes, more than that without /dev/shm: run it with make long")
	}
	resumeFromDamage(t, func(int) bool { return true })
}
