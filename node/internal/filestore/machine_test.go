package filestore_test

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

// errNoPower is returned by everything that reaches the disk behind a cut.
var errNoPower = errors.New("no power")

// sector is what a disk writes whole or not at all, but for the one that it is
// at when the power goes.
const sector = 512

// machine is a computer with one download, whose power fails within one of the
// operations on its disk. Each life has a folder of its own, made of what
// survived the life before:
//
//   - bytes of the partial file that were synced, and any sectors of the others,
//     some half written;
//   - names as of the last sync of their folder, and any of the later changes;
//   - the records as of the last commit that returned; of one that was under way
//     any sectors of its pages, or those and some of its meta page, or all of it
//     without anybody being told.
//
// What this cannot show: that the system syncs when it says so, and that bbolt
// syncs where its source says.
type machine struct {
	base    string
	m       *protocol.Manifest
	content []byte
	target  filestore.Target

	life    int
	records *records.Records

	mu       sync.Mutex
	rng      *rand.Rand
	left     int    // operations until the cut; 0: the power is off
	volatile []span // of the partial file
	safe     survivors
}

// span is bytes that were written and not synced.
type span struct{ off, n int64 }

// survivors is what the next life finds.
type survivors struct {
	sized   bool // the partial file has its size
	bytes   []byte
	names   map[string]bool
	records []byte
}

// newMachine has nothing but empty records.
func newMachine(t *testing.T, base string, content []byte, seed uint64) *machine {
	t.Helper()
	m := &machine{base: base, m: describe("a file", content, protocol.PieceLength), content: content, rng: rand.New(rand.NewPCG(seed, 0))}
	m.target = target(t, base, m.m.Name, m.m)
	m.target.Folder = 0 // it is another one in each life
	r, err := records.Open(base)
	check(t, err)
	check(t, r.Close())
	m.safe.records, err = os.ReadFile(m.recordsFile(base))
	check(t, err)
	m.forget()
	return m
}

// forget removes the file and all traces of it but those in the records.
func (m *machine) forget() {
	m.safe.sized, m.safe.bytes, m.safe.names = false, make([]byte, len(m.content)), map[string]bool{}
}

func (m *machine) recordsFile(dir string) string { return filepath.Join(dir, "records.db") }

// boot makes what survived into the files of another life, whose power fails
// within operation number left.
func (m *machine) boot(t *testing.T, left int) (*filestore.Partial, error) {
	t.Helper()
	m.life++
	m.left, m.volatile = left, nil
	m.target.Dir = filepath.Join(m.base, "life")
	check(t, os.RemoveAll(m.target.Dir))
	check(t, os.Mkdir(m.target.Dir, 0o700))
	check(t, os.WriteFile(m.recordsFile(m.target.Dir), m.safe.records, 0o600))
	first := ""
	for name := range m.safe.names {
		if path := filepath.Join(m.target.Dir, name); first == "" {
			first = path
			check(t, m.write(path))
		} else {
			check(t, os.Link(first, path))
		}
	}
	r, err := records.Open(m.target.Dir)
	check(t, err)
	m.records = r
	if why := r.Damaged(); why != "" {
		t.Errorf("life %d: %s", m.life, why)
	}
	return filestore.OpenFaulty(t.Context(), m.target, m.m, m, m.faults())
}

// write makes the file; what never reached the disk is a hole in it.
func (m *machine) write(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if m.safe.sized {
		err = f.Truncate(m.m.Size)
	}
	zeros := make([]byte, 4096)
	for off := 0; m.safe.sized && off < len(m.safe.bytes) && err == nil; off += len(zeros) {
		if b := m.safe.bytes[off:min(off+len(zeros), len(m.safe.bytes))]; !bytes.Equal(b, zeros[:len(b)]) {
			_, err = f.WriteAt(b, int64(off))
		}
	}
	return errors.Join(err, f.Close())
}

// step is an operation on the disk. It reports false if the power does not last
// until its end.
func (m *machine) step() bool {
	if m.left > 0 {
		m.left--
	}
	return m.left > 0
}

func (m *machine) isOff() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.left == 0
}

func (m *machine) faults() *filestore.Faults {
	return &filestore.Faults{
		NoSync: true,
		Write: func(off int64, n int) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			if on := m.left > 0; m.step() {
				return nil
			} else if on {
				m.volatile = append(m.volatile, span{off, int64(n / 2)}) // that much of it is written
			}
			return errNoPower
		},
		Written: func(off int64, n int) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.volatile = append(m.volatile, span{off, int64(n)})
		},
		Sync: m.sync,
		BeforeLink: func() error {
			err := m.named(func() error { return nil })
			if err != nil {
				err = errors.Join(err, syscall.ENOSPC) // or it would be tried without links
			}
			return err
		},
		SyncFolder: func() error {
			return m.named(func() (err error) {
				m.safe.names, err = m.names()
				return err
			})
		},
	}
}

// sync takes its time, while others write: until they have written so much, or
// do not go on.
func (m *machine) sync() error {
	m.mu.Lock()
	batch, meanwhile := m.volatile, max(0, m.rng.IntN(160)-120)
	m.volatile = nil
	m.mu.Unlock()
	for written, began := 0, time.Now(); written < meanwhile && time.Since(began) < 50*time.Millisecond; {
		runtime.Gosched()
		m.mu.Lock()
		written = len(m.volatile)
		m.mu.Unlock()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.step() {
		m.volatile = append(batch, m.volatile...)
		return errNoPower
	}
	m.safe.sized = true
	return m.keep(batch, 1)
}

// keep makes so much of the spans survive.
func (m *machine) keep(spans []span, share float64) error {
	if len(spans) == 0 {
		return nil
	}
	names, err := m.names()
	if err != nil {
		return err
	}
	for name := range names {
		f, err := os.Open(filepath.Join(m.target.Dir, name))
		if err != nil {
			return err
		}
		defer f.Close()
		for _, s := range spans {
			if share == 1 {
				if _, err := f.ReadAt(m.safe.bytes[s.off:][:s.n], s.off); err != nil {
					return err
				}
				continue
			}
			b := make([]byte, s.n)
			if _, err := f.ReadAt(b, s.off); err != nil {
				return err
			}
			scatter(m.rng, m.safe.bytes[s.off:][:s.n], b, share)
		}
		return nil // both names are of one file
	}
	return nil
}

// scatter takes over a share of the sectors that differ, some up to their middle.
func scatter(rng *rand.Rand, to, from []byte, share float64) {
	for at := 0; at < len(from); at += sector {
		end := min(at+sector, len(from))
		switch {
		case bytes.Equal(to[at:end], from[at:end]):
		case rng.IntN(50) == 0:
			copy(to[at:end], from[at:at+rng.IntN(end-at)])
		case rng.Float64() < share:
			copy(to[at:end], from[at:end])
		}
	}
}

// named is an operation on the names of the folder.
func (m *machine) named(f func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.step() {
		return errNoPower
	}
	return f()
}

// names lists which of the two names there are.
func (m *machine) names() (map[string]bool, error) {
	there := map[string]bool{}
	for _, name := range []string{m.target.Name, m.target.Part} {
		if _, err := os.Lstat(filepath.Join(m.target.Dir, name)); err == nil {
			there[name] = true
		} else if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return there, nil
}

var _ filestore.Journal = (*machine)(nil)

// Load implements filestore.Journal.
func (m *machine) Load() ([]byte, error) {
	return m.records.Journal(protocol.UserID{}, protocol.GroupID{}, m.m.ID()).Load()
}

// Save implements filestore.Journal.
func (m *machine) Save(bits []byte) error {
	if m.isOff() {
		return errNoPower
	}
	if err := m.records.Journal(protocol.UserID{}, protocol.GroupID{}, m.m.ID()).Save(bits); err != nil {
		return err
	}
	after, err := os.ReadFile(m.recordsFile(m.target.Dir))
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	on := m.left > 0
	if !m.step() {
		if on {
			m.safe.records = torn(m.rng, m.safe.records, after)
		}
		return errNoPower
	}
	m.safe.records = after
	return nil
}

// torn is what is kept of a commit of bbolt, which writes its pages, syncs,
// writes one of the two meta pages at the beginning, syncs.
func torn(rng *rand.Rand, before, after []byte) []byte {
	meta := 2 * os.Getpagesize()
	kept := make([]byte, len(after))
	copy(kept, before)
	switch rng.IntN(4) {
	case 0:
		return before
	case 1:
		scatter(rng, kept[meta:], after[meta:], rng.Float64())
	case 2:
		copy(kept[meta:], after[meta:])
		scatter(rng, kept[:meta], after[:meta], rng.Float64())
	case 3:
		copy(kept, after)
	}
	return kept
}

// down ends a life whose power is off, and works out what survives.
func (m *machine) down(t *testing.T) {
	t.Helper()
	check(t, m.records.Close())
	names, err := m.names()
	check(t, err)
	// At once, and before the first sync, there may be no size yet.
	m.safe.sized = m.safe.sized || m.rng.IntN(2) == 0
	if m.safe.sized {
		check(t, m.keep(m.volatile, []float64{0, 0.5, 0.9, 0.999}[m.rng.IntN(4)]))
	}
	kept := maps.Clone(m.safe.names)
	for _, name := range []string{m.target.Name, m.target.Part} {
		if names[name] != kept[name] && m.rng.IntN(2) == 0 {
			kept[name] = names[name]
		}
		if !kept[name] {
			delete(kept, name)
		}
	}
	m.safe.names = kept
	if len(kept) == 0 {
		m.forget()
	}
}
