package filestore_test

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/zeebo/blake3"
	"go.uber.org/goleak"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t testing.TB, what string, err error, want protocol.Code) {
	t.Helper()
	if got := protocol.CodeOf(err); got != want {
		t.Fatalf("%s: %v (%s), want %s", what, err, got, want)
	}
}

// random returns size bytes that are the same for equal seeds.
func random(size int, seed uint64) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1}).Read(b)
	return b
}

// describe makes a manifest the plain way, for the real code to be compared with.
func describe(name string, content []byte, pieceLength int) *protocol.Manifest {
	m := &protocol.Manifest{Name: name, Size: int64(len(content)), PieceLength: int64(pieceLength), SHA1: sha1.Sum(content)}
	for piece := range slices.Chunk(content, pieceLength) {
		m.Pieces = append(m.Pieces, protocol.PieceHash{SHA1: sha1.Sum(piece), BLAKE3: blake3.Sum256(piece)})
	}
	return m
}

// fileOf is what a file of so many pieces of 1 KiB holds, and its manifest.
func fileOf(pieces int) ([]byte, *protocol.Manifest) {
	content := random(pieces*1024, 1)
	return content, describe("a", content, 1024)
}

func piece(m *protocol.Manifest, content []byte, i int) []byte {
	return content[m.PieceOffset(i):][:m.PieceSize(i)]
}

// journal is a Journal in memory that remembers everything saved.
type journal struct {
	mu    sync.Mutex
	saves [][]byte
	fault error // of every Load and Save
	// unreadable makes Load fail until the next Save.
	unreadable bool
	saved      func(bits []byte)
}

func (j *journal) Load() ([]byte, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.unreadable {
		return nil, errors.New("damaged")
	}
	if len(j.saves) == 0 || j.fault != nil {
		return nil, j.fault
	}
	return bytes.Clone(j.saves[len(j.saves)-1]), nil
}

func (j *journal) Save(bits []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fault != nil {
		return j.fault
	}
	if j.saved != nil {
		j.saved(bits)
	}
	j.saves = append(j.saves, append([]byte{}, bits...))
	j.unreadable = false
	return nil
}

func (j *journal) setFault(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fault = err
}

// asOf returns a journal that holds what this one held after n saves.
func (j *journal) asOf(n int) *journal {
	j.mu.Lock()
	defer j.mu.Unlock()
	return &journal{saves: slices.Clone(j.saves[:n])}
}

func (j *journal) count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.saves)
}

func hasBit(bits []byte, i int) bool { return bits[i/8]&(0x80>>(i%8)) != 0 }

func target(t testing.TB, dir, name string, m *protocol.Manifest) filestore.Target {
	t.Helper()
	target, err := filestore.ResolveTarget(dir, "", name, m.ID(), "client")
	check(t, err)
	return target
}

func openPartial(t testing.TB, target filestore.Target, m *protocol.Manifest, j filestore.Journal) *filestore.Partial {
	t.Helper()
	p, err := filestore.OpenPartial(t.Context(), target, m, j)
	if err != nil {
		t.Fatalf("OpenPartial: %v", err)
	}
	return p
}

func openFaulty(t testing.TB, target filestore.Target, m *protocol.Manifest, j filestore.Journal, f *filestore.Faults) *filestore.Partial {
	t.Helper()
	p, err := filestore.OpenFaulty(t.Context(), target, m, j, f)
	if err != nil {
		t.Fatalf("OpenPartial: %v", err)
	}
	return p
}

func write(t testing.TB, p *filestore.Partial, content []byte, pieces ...int) {
	t.Helper()
	for _, i := range pieces {
		if v, err := p.WritePiece(i, piece(p.Manifest(), content, i)); v != filestore.Good || err != nil {
			t.Fatalf("WritePiece(%d) = %v, %v, want good", i, v, err)
		}
	}
}

func writeMissing(t testing.TB, p *filestore.Partial, content []byte) {
	t.Helper()
	_, bits := p.Have()
	for i := range p.Manifest().Pieces {
		if !hasBit(bits, i) {
			write(t, p, content, i)
		}
	}
}

// finish finishes p and compares the file with content.
func finish(t testing.TB, p *filestore.Partial, target filestore.Target, content []byte) {
	t.Helper()
	path, stamp, bad, err := p.Finish(t.Context())
	if err != nil || len(bad) > 0 || path != target.Path() {
		t.Fatalf("Finish = %q, %v, %v, want %q", path, bad, err, target.Path())
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("the finished file has %d bytes that differ from the %d wanted (%v)", len(got), len(content), err)
	}
	if stamp.Size != int64(len(content)) {
		t.Fatalf("stamp = %+v, want size %d", stamp, len(content))
	}
	if left := partials(t, target.Dir); len(left) > 0 {
		t.Fatalf("after Finish there is still %q", left)
	}
	o, err := filestore.OpenOriginal(path, stamp, p.Manifest())
	check(t, err)
	check(t, o.Close())
}

// complete writes what p lacks, finishes and closes it.
func complete(t testing.TB, p *filestore.Partial, target filestore.Target, content []byte) {
	t.Helper()
	writeMissing(t, p, content)
	finish(t, p, target, content)
	check(t, p.Close())
}

// partials lists what of ours lies in a folder.
func partials(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	for _, e := range entries {
		if e.Name()[0] == '.' {
			names = append(names, e.Name())
		}
	}
	return names
}

// haveIsTrue checks that every piece offered reads as it should, and the others not at all.
func haveIsTrue(p *filestore.Partial, content []byte) error {
	complete, bits := p.Have()
	m, missing := p.Manifest(), 0
	for i := range m.Pieces {
		b := make([]byte, m.PieceSize(i))
		_, err := p.ReadAt(b, m.PieceOffset(i))
		switch {
		case !hasBit(bits, i):
			missing++
			if !errors.Is(err, protocol.ErrNotFound) {
				return fmt.Errorf("reading piece %d, which is missing: %w", i, err)
			}
		case err != nil || !bytes.Equal(b, piece(m, content, i)):
			return fmt.Errorf("piece %d is offered and wrong (%w)", i, err)
		}
	}
	if complete != (missing == 0) {
		return fmt.Errorf("complete = %v with %d pieces missing", complete, missing)
	}
	return nil
}

func writeFile(t testing.TB, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	check(t, os.WriteFile(path, content, 0o600))
	return path
}

// diskFault is what a disk answers with for a time; at first it has no fault.
type diskFault struct{ now atomic.Pointer[error] }

func (f *diskFault) begin(err error) { f.now.Store(&err) }

func (f *diskFault) end() { f.now.Store(nil) }

func (f *diskFault) err() error {
	if err := f.now.Load(); err != nil {
		return *err
	}
	return nil
}
