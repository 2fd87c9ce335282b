package filestore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/protocol"
)

// inParallel calls f for 0 to n-1 from so many goroutines.
func inParallel(workers, n int, f func(i int)) {
	var next atomic.Int64
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	running.Wait()
}

func TestDownload(t *testing.T) {
	tests := []struct {
		name string
		size int
	}{
		{"empty", 0},
		{"one byte", 1},
		{"Ü b c.bin", 524_287},
		{"日本語", 524_288},
		{"a piece and a byte", 524_289},
		{"several", 5*524_288 + 77},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			content := random(tt.size, uint64(i))
			m := describe(tt.name, content, protocol.PieceLength)
			j := &journal{}
			to := target(t, t.TempDir(), tt.name, m)
			p := openPartial(t, to, m, j)
			check(t, haveIsTrue(p, content))
			inParallel(3, len(m.Pieces), func(i int) { write(t, p, content, i) })
			check(t, haveIsTrue(p, content))
			finish(t, p, to, content)
			finish(t, p, to, content) // once more is harmless
			check(t, haveIsTrue(p, content))
			if bits, _ := j.Load(); bits == nil || !bytes.Equal(bits, mustHave(p)) {
				t.Errorf("journal = %x, want %x", bits, mustHave(p))
			}
			check(t, p.Close())
			check(t, p.Close())
		})
	}
}

func mustHave(p *filestore.Partial) []byte {
	_, bits := p.Have()
	return bits
}

func TestVerdicts(t *testing.T) {
	content := random(10_000, 1)
	m := describe("a", content, 4096)
	other := describe("a", random(10_000, 2), 4096)
	m.Pieces[1].BLAKE3 = other.Pieces[1].BLAKE3 // the manifest contradicts itself
	m.Pieces[2].SHA1 = other.Pieces[2].SHA1
	to := target(t, t.TempDir(), "a", m)
	p := openPartial(t, to, m, &journal{})
	defer p.Close()
	flipped := bytes.Clone(content[:4096])
	flipped[4095] ^= 1
	tests := []struct {
		name  string
		piece int
		data  []byte
		want  filestore.Verdict
	}{
		{"flipped bit", 0, flipped, filestore.Corrupt},
		{"too short", 0, content[:4095], filestore.Corrupt},
		{"too long", 0, content[:4097], filestore.Corrupt},
		{"nothing", 0, nil, filestore.Corrupt},
		{"another piece", 0, content[4096:8192], filestore.Corrupt},
		{"only SHA-1 matches", 1, content[4096:8192], filestore.Inconsistent},
		{"only BLAKE3 matches", 2, content[8192:], filestore.Inconsistent},
		{"right", 0, content[:4096], filestore.Good},
		{"right again", 0, content[:4096], filestore.Good},
		{"corrupt when it is there", 0, flipped, filestore.Corrupt},
	}
	for _, tt := range tests {
		if got, err := p.WritePiece(tt.piece, tt.data); got != tt.want || err != nil {
			t.Errorf("%s: WritePiece = %v, %v, want %v", tt.name, got, err, tt.want)
		}
	}
	for _, i := range []int{-1, 3, 1 << 40} {
		if _, err := p.WritePiece(i, content[:4096]); protocol.CodeOf(err) != protocol.CodeInternal {
			t.Errorf("WritePiece(%d) = %v, want E_INTERNAL", i, err)
		}
	}
	if complete, bits := p.Have(); complete || bits[0] != 0x80 {
		t.Errorf("Have = %v, %x, want piece 0", complete, bits)
	}
}

func TestReadAtOfPartial(t *testing.T) {
	content := random(4*4096+100, 1)
	m := describe("a", content, 4096)
	to := target(t, t.TempDir(), "a", m)
	p := openPartial(t, to, m, &journal{})
	write(t, p, content, 1, 2, 4)
	tests := []struct {
		name   string
		off, n int
		wantN  int
		want   protocol.Code // E_INTERNAL stands for io.EOF, which has no code
	}{
		{"a piece", 4096, 4096, 4096, ""},
		{"two pieces", 5000, 4096, 4096, ""},
		{"into a missing one before", 4095, 2, 0, protocol.CodeNotFound},
		{"into a missing one behind", 3*4096 - 1, 2, 0, protocol.CodeNotFound},
		{"missing", 0, 1, 0, protocol.CodeNotFound},
		{"all", 0, len(content), 0, protocol.CodeNotFound},
		{"the end", 4 * 4096, 100, 100, ""},
		{"over the end", 4 * 4096, 101, 100, protocol.CodeInternal},
		{"behind the end", len(content), 1, 0, protocol.CodeInternal},
		{"before the start", -1, 1, 0, protocol.CodeInternal},
		{"nothing", 0, 0, 0, ""},
	}
	for _, tt := range tests {
		b := make([]byte, tt.n)
		n, err := p.ReadAt(b, int64(tt.off))
		if n != tt.wantN || protocol.CodeOf(err) != tt.want || tt.want == protocol.CodeInternal && !errors.Is(err, io.EOF) {
			t.Errorf("%s: ReadAt = %d, %v, want %d, %q", tt.name, n, err, tt.wantN, tt.want)
		} else if n > 0 && !bytes.Equal(b[:n], content[tt.off:][:n]) {
			t.Errorf("%s: wrong bytes", tt.name)
		}
	}
	check(t, p.Close())
	_, err := p.ReadAt(make([]byte, 1), 4096)
	wantCode(t, "ReadAt after Close", err, protocol.CodeNotFound)
	_, err = p.WritePiece(0, content[:4096])
	wantCode(t, "WritePiece after Close", err, protocol.CodeNotFound)
	_, _, _, err = p.Finish(t.Context())
	wantCode(t, "Finish after Close", err, protocol.CodeNotFound)
}

func TestSubscribe(t *testing.T) {
	content, m := fileOf(64)
	p := openPartial(t, target(t, t.TempDir(), "a", m), m, &journal{})
	defer p.Close()
	write(t, p, content, 0)
	var mu sync.Mutex
	var told []int
	cancel := p.Subscribe(func(i int) {
		// A piece that is told of can be read, and nothing of p is locked.
		if _, err := p.ReadAt(make([]byte, 1), m.PieceOffset(i)); err != nil {
			t.Errorf("reading piece %d when told of it: %v", i, err)
		}
		mu.Lock()
		told = append(told, i)
		mu.Unlock()
	})
	inParallel(4, 2*50, func(n int) { write(t, p, content, n%50) }) // each twice
	cancel()
	inParallel(4, 64, func(n int) { write(t, p, content, n) })
	slices.Sort(told)
	want := make([]int, 0, 49)
	for i := 1; i < 50; i++ {
		want = append(want, i)
	}
	if !slices.Equal(told, want) {
		t.Errorf("told of %v, want 1 to 49, once each", told)
	}
	if complete, _ := p.Have(); !complete {
		t.Error("not complete")
	}
}

func TestReadersAndWritersAtOnce(t *testing.T) {
	content := random(200*2048+5, 1)
	m := describe("a", content, 2048)
	to := target(t, t.TempDir(), "a", m)
	p := openPartial(t, to, m, &journal{})
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() {
			for complete := false; !complete; complete, _ = p.Have() {
				if err := haveIsTrue2(p, content); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	inParallel(3, len(m.Pieces), func(i int) { write(t, p, content, i) })
	running.Wait()
	finish(t, p, to, content)
	check(t, p.Close())
}

// haveIsTrue2 is haveIsTrue while others write: what was offered reads right.
func haveIsTrue2(p *filestore.Partial, content []byte) error {
	_, bits := p.Have()
	m := p.Manifest()
	for i := range m.Pieces {
		b := make([]byte, m.PieceSize(i))
		if !hasBit(bits, i) {
			continue
		}
		if _, err := p.ReadAt(b, m.PieceOffset(i)); err != nil || !bytes.Equal(b, piece(m, content, i)) {
			return fmt.Errorf("piece %d is offered and wrong (%w)", i, err)
		}
	}
	return nil
}

func TestFinishTellsWhatIsMissing(t *testing.T) {
	content, m := fileOf(5)
	to := target(t, t.TempDir(), "a", m)
	p := openPartial(t, to, m, &journal{})
	write(t, p, content, 1, 3)
	_, _, bad, err := p.Finish(t.Context())
	if err != nil || !slices.Equal(bad, []int{0, 2, 4}) {
		t.Fatalf("Finish = %v, %v, want 0 2 4", bad, err)
	}
	complete(t, p, to, content)
}

func TestRemove(t *testing.T) {
	content, m := fileOf(5)
	to := target(t, t.TempDir(), "a", m)
	j := &journal{}
	p := openPartial(t, to, m, j)
	write(t, p, content, 1, 2)
	check(t, p.Remove())
	check(t, p.Remove())
	check(t, p.Close())
	if left := partials(t, to.Dir); len(left) > 0 {
		t.Fatalf("after Remove there is still %q", left)
	}
	// A journal that outlives its file is not believed.
	j.saves = append(j.saves, []byte{0xf8})
	p = openPartial(t, to, m, j)
	if _, bits := p.Have(); bits[0] != 0 {
		t.Errorf("Have of a new file = %x", bits)
	}
	if bits, err := j.Load(); err != nil || bits[0] != 0 {
		t.Errorf("journal of a new file = %x, %v", bits, err)
	}
	writeMissing(t, p, content)
	finish(t, p, to, content)
	check(t, p.Remove())
	if got, err := os.ReadFile(to.Path()); err != nil || !bytes.Equal(got, content) {
		t.Errorf("Remove after Finish took the file: %v", err)
	}
}

func TestOneDownloadAFile(t *testing.T) {
	_, m := fileOf(5)
	to := target(t, t.TempDir(), "a", m)
	p := openPartial(t, to, m, &journal{})
	_, err := filestore.OpenPartial(t.Context(), to, m, &journal{})
	wantCode(t, "second OpenPartial", err, protocol.CodeLocked)
	check(t, p.Close())
	check(t, openPartial(t, to, m, &journal{}).Close())
}
