package filestore_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/protocol"
)

// A download that is killed, loses power, or gets its records spoiled at any
// point goes on, never offers a wrong byte, never forgets what it should have,
// and ends with the right file.
func TestCrashModel(t *testing.T) {
	base := t.TempDir()
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		w := newCrashWorld(rt, filepath.Join(base, fmt.Sprint(round)))
		rt.Repeat(map[string]func(*rapid.T){
			"write":      w.write,
			"restart":    w.restart,
			"kill":       w.kill,
			"power loss": w.powerLoss,
			"spoil":      w.spoil,
			"":           w.holds,
		})
		w.finish(rt)
	})
}

type crashWorld struct {
	base    string
	life    int // counts the folders: each crash goes on in a copy
	content []byte
	m       *protocol.Manifest
	target  filestore.Target
	journal *journal
	part    *filestore.Partial
	written map[int]bool // since the partial file was made
	floor   int          // saves of the journal before that
}

func newCrashWorld(t *rapid.T, base string) *crashWorld {
	size := rapid.SampledFrom([]int{0, 1, 4095, 4096, 4097, 30_000, 64*4096 + 9}).Draw(t, "size")
	w := &crashWorld{base: base, content: random(size, 3), journal: &journal{}, written: map[int]bool{}}
	w.m = describe("a file", w.content, 4096)
	w.open(t, nil, w.journal)
	return w
}

func (w *crashWorld) must(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// open begins another life with a partial file of these bytes, nil for none.
func (w *crashWorld) open(t *rapid.T, part []byte, j *journal) {
	w.life++
	dir := filepath.Join(w.base, fmt.Sprint(w.life))
	w.must(t, os.MkdirAll(dir, 0o700))
	target, err := filestore.ResolveTarget(dir, "", "a file", w.m.ID(), "client")
	w.must(t, err)
	if part != nil {
		w.must(t, os.WriteFile(filepath.Join(dir, target.Part), part, 0o600))
	}
	w.target, w.journal = target, j
	w.part, err = filestore.OpenFaulty(t.Context(), target, w.m, j, &filestore.Faults{NoSync: true})
	w.must(t, err)
}

// die ends a life and returns what was in the partial file at that moment, and
// how often the journal had been saved.
func (w *crashWorld) die(t *rapid.T) (part []byte, saves int) {
	saves = w.journal.count()
	part, err := os.ReadFile(filepath.Join(w.target.Dir, w.target.Part))
	w.must(t, err)
	w.must(t, w.part.Close())
	w.must(t, os.RemoveAll(w.target.Dir))
	return part, saves
}

func (w *crashWorld) write(t *rapid.T) {
	if len(w.m.Pieces) == 0 {
		t.Skip("an empty file")
	}
	for range rapid.IntRange(1, 8).Draw(t, "pieces") {
		i := rapid.IntRange(0, len(w.m.Pieces)-1).Draw(t, "piece")
		data := bytes.Clone(piece(w.m, w.content, i))
		want := filestore.Good
		if rapid.IntRange(0, 9).Draw(t, "bad") == 0 {
			data[rapid.IntRange(0, len(data)-1).Draw(t, "at")] ^= 1
			want = filestore.Corrupt
		}
		if got, err := w.part.WritePiece(i, data); got != want || err != nil {
			t.Fatalf("WritePiece(%d) = %v, %v, want %v", i, got, err, want)
		}
		if want == filestore.Good {
			w.written[i] = true
		}
	}
}

func (w *crashWorld) has(pieces map[int]bool) error {
	_, bits := w.part.Have()
	for i := range pieces {
		if !hasBit(bits, i) {
			return fmt.Errorf("piece %d was lost", i)
		}
	}
	return nil
}

// restart closes and opens in the same folder.
func (w *crashWorld) restart(t *rapid.T) {
	w.must(t, w.part.Close())
	var err error
	w.part, err = filestore.OpenFaulty(t.Context(), w.target, w.m, w.journal, &filestore.Faults{NoSync: true})
	w.must(t, err)
	w.must(t, w.has(w.written))
}

// kill loses nothing that was written, however far the journal lags.
func (w *crashWorld) kill(t *rapid.T) {
	part, saves := w.die(t)
	w.open(t, part, w.journal.asOf(rapid.IntRange(min(w.floor, saves), saves).Draw(t, "saves")))
	w.must(t, w.has(w.written))
}

// powerLoss keeps what the journal says; of everything else any part may be
// gone or torn.
func (w *crashWorld) powerLoss(t *rapid.T) {
	part, saves := w.die(t)
	j := w.journal.asOf(saves)
	kept := map[int]bool{}
	bits, _ := j.Load()
	for i := range w.m.Pieces {
		if _, ok := filestore.ParseBitfield(bits, len(w.m.Pieces)); ok && hasBit(bits, i) {
			kept[i] = true
			continue
		}
		at := part[w.m.PieceOffset(i):][:w.m.PieceSize(i)]
		switch rapid.IntRange(0, 3).Draw(t, "fate") {
		case 0:
			clear(at)
		case 1:
			clear(at[:rapid.IntRange(0, len(at)).Draw(t, "head")])
		case 2:
			clear(at[rapid.IntRange(0, len(at)).Draw(t, "tail"):])
		}
	}
	w.open(t, part, j)
	w.must(t, w.has(kept))
	w.forget()
}

// spoil damages the partial file, the journal or both in ways that can be noticed.
func (w *crashWorld) spoil(t *rapid.T) {
	part, saves := w.die(t)
	j := w.journal.asOf(saves)
	switch rapid.SampledFrom([]string{"torn journal", "unreadable journal", "cut part", "longer part", "no part"}).Draw(t, "how") {
	case "torn journal":
		torn := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "journal")
		if _, ok := filestore.ParseBitfield(torn, len(w.m.Pieces)); ok {
			torn = append(torn, 0)
		}
		j.saves = append(j.saves, torn)
	case "unreadable journal":
		j.unreadable = true
	case "cut part":
		part = part[:rapid.IntRange(0, len(part)).Draw(t, "size")]
	case "longer part":
		part = append(part, make([]byte, rapid.IntRange(1, 5000).Draw(t, "more"))...)
	case "no part":
		part = nil
	}
	w.open(t, part, j)
	w.forget()
	w.floor = w.journal.count()
}

// forget takes what is there now for what was written.
func (w *crashWorld) forget() {
	w.written = map[int]bool{}
	_, bits := w.part.Have()
	for i := range w.m.Pieces {
		if hasBit(bits, i) {
			w.written[i] = true
		}
	}
}

func (w *crashWorld) holds(t *rapid.T) {
	w.must(t, haveIsTrue(w.part, w.content))
	w.must(t, w.has(w.written))
}

func (w *crashWorld) finish(t *rapid.T) {
	_, bits := w.part.Have()
	for i := range w.m.Pieces {
		if !hasBit(bits, i) {
			if v, err := w.part.WritePiece(i, piece(w.m, w.content, i)); v != filestore.Good || err != nil {
				t.Fatalf("WritePiece(%d) = %v, %v", i, v, err)
			}
		}
	}
	path, _, bad, err := w.part.Finish(t.Context())
	if err != nil || len(bad) > 0 {
		t.Fatalf("Finish = %v, %v", bad, err)
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, w.content) {
		t.Fatalf("the finished file is wrong (%v)", err)
	}
	w.must(t, w.part.Close())
}

// A partial file that was altered where the journal vouches for it is found out
// after the end at the latest, and repaired.
func TestAlteredBehindTheJournal(t *testing.T) {
	content, m := fileOf(8)
	to := target(t, t.TempDir(), "a", m)
	j := &journal{}
	p := openPartial(t, to, m, j)
	writeMissing(t, p, content)
	check(t, p.Close())
	path := filepath.Join(to.Dir, to.Part)
	b, err := os.ReadFile(path)
	check(t, err)
	b[5000] ^= 1
	check(t, os.WriteFile(path, b, 0o600))
	p = openPartial(t, to, m, j)
	_, s, missing, err := p.Finish(t.Context())
	if err != nil || missing != nil {
		t.Fatalf("Finish = %v, %v", missing, err)
	}
	check(t, p.Close())
	bad, err := filestore.CheckFinished(t.Context(), to, m, j, s)
	if err != nil || !slices.Equal(bad, []int{4}) {
		t.Fatalf("CheckFinished = %v, %v, want piece 4", bad, err)
	}
	check(t, filestore.TakeBack(to, s))
	p = openPartial(t, to, m, j)
	write(t, p, content, 4)
	finish(t, p, to, content)
	check(t, p.Close())
}

// Pieces in the journal that are holes on disk are not trusted.
func TestHolesBehindTheJournal(t *testing.T) {
	content := random(8*8192, 1)
	m := describe("a", content, 8192)
	to := target(t, t.TempDir(), "a", m)
	j := &journal{}
	p := openPartial(t, to, m, j)
	writeMissing(t, p, content)
	check(t, p.Close())
	path := filepath.Join(to.Dir, to.Part)
	check(t, os.Truncate(path, 3*8192))
	check(t, os.Truncate(path, m.Size)) // the right size again
	p = openPartial(t, to, m, j)
	if _, bits := p.Have(); bits[0] != 0xe0 {
		t.Errorf("Have = %x, want the first three pieces", bits)
	}
	check(t, haveIsTrue(p, content))
	complete(t, p, to, content)
}

// A file whose pieces are all zero is no different from others.
func TestZeros(t *testing.T) {
	content := make([]byte, 5*8192+1)
	m := describe("zeros", content, 8192)
	to := target(t, t.TempDir(), "zeros", m)
	j := &journal{}
	p := openPartial(t, to, m, j)
	write(t, p, content, 2)
	check(t, p.Close())
	p = openPartial(t, to, m, j)
	if _, bits := p.Have(); !hasBit(bits, 2) {
		t.Errorf("Have = %x, want piece 2", bits)
	}
	complete(t, p, to, content)
}
