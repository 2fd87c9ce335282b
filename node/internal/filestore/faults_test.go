package filestore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestWriteFault(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want protocol.Code
	}{
		{"disk full", syscall.ENOSPC, protocol.CodeDiskFull},
		{"quota", &os.PathError{Op: "write", Err: syscall.EDQUOT}, protocol.CodeDiskFull},
		{"broken disk", syscall.EIO, protocol.CodeState},
		{"read-only file system", syscall.EROFS, protocol.CodePerm},
		{"file too large", syscall.EFBIG, protocol.CodeLimit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			content := random(5*1024, 1)
			m := describe("a", content, 1024)
			to := target(t, t.TempDir(), "a", m)
			var fault atomic.Pointer[error]
			j := &journal{}
			p := openFaulty(t, to, m, j, &filestore.Faults{Write: func(int64, int) error {
				if err := fault.Load(); err != nil {
					return *err
				}
				return nil
			}})
			write(t, p, content, 0)
			fault.Store(&tt.err)
			v, err := p.WritePiece(1, piece(m, content, 1))
			wantCode(t, "WritePiece", err, tt.want)
			if v == filestore.Corrupt || v == filestore.Inconsistent {
				t.Errorf("verdict = %v: a local fault blames nobody", v)
			}
			bad := append([]byte{}, piece(m, content, 2)...)
			bad[0] ^= 1
			if v, err := p.WritePiece(2, bad); v != filestore.Corrupt || err != nil {
				t.Errorf("WritePiece of wrong data = %v, %v, want corrupt", v, err)
			}
			check(t, haveIsTrue(p, content)) // what is verified is served on
			if _, bits := p.Have(); bits[0] != 0x80 {
				t.Errorf("Have = %x, want piece 0 alone", bits)
			}
			// A torn piece is not taken for one after a restart either.
			check(t, p.Close())
			p = openPartial(t, to, m, j)
			if _, bits := p.Have(); bits[0] != 0x80 {
				t.Errorf("Have after a restart = %x, want piece 0 alone", bits)
			}
			writeMissing(t, p, content)
			finish(t, p, to, content)
			check(t, p.Close())
		})
	}
}

func TestNoRoom(t *testing.T) {
	m := describe("a", random(5*1024, 1), 1024)
	full := &filestore.Faults{FreeSpace: func() (uint64, error) { return 64<<20 + 5*1024 - 1, nil }}
	enough := &filestore.Faults{FreeSpace: func() (uint64, error) { return 64<<20 + 5*1024, nil }}
	broken := &filestore.Faults{Preallocate: func(*os.File) error { return &os.PathError{Op: "fallocate", Err: syscall.ENOSPC} }}
	to := target(t, t.TempDir(), "a", m)
	for _, faults := range []*filestore.Faults{full, broken} {
		_, err := filestore.OpenFaulty(t.Context(), to, m, &journal{}, faults)
		wantCode(t, "OpenPartial", err, protocol.CodeDiskFull)
		if left := partials(t, to.Dir); len(left) > 0 {
			t.Errorf("there is %q", left)
		}
	}
	check(t, openFaulty(t, to, m, &journal{}, enough).Close())
	if left := partials(t, to.Dir); len(left) != 1 {
		t.Errorf("there is %q, want the partial file", left)
	}
}

// Where nothing can be allocated in advance, files grow as they are written.
func TestNoPreallocation(t *testing.T) {
	content := random(20*8192+1, 1)
	m := describe("a", content, 8192)
	to := target(t, t.TempDir(), "a", m)
	j := &journal{}
	sparse := &filestore.Faults{Preallocate: func(f *os.File) error { return f.Truncate(m.Size) }}
	p := openFaulty(t, to, m, j, sparse)
	write(t, p, content, 3, 20)
	check(t, p.Close())
	p = openFaulty(t, to, m, j, sparse)
	if _, bits := p.Have(); !slices.Equal(bits, []byte{0x10, 0, 0x08}) {
		t.Errorf("Have = %x, want 3 and 20", bits)
	}
	writeMissing(t, p, content)
	finish(t, p, to, content)
	check(t, p.Close())
}

// Where no room can be reserved, it is looked at every 256 MiB.
func TestRoomRunsOut(t *testing.T) {
	const length = 16 << 20
	same := random(length, 1) // the pieces may be equal: only their number matters
	one := describe("a", same, length)
	m := &protocol.Manifest{Name: "a", Size: 40 * length, PieceLength: length}
	for range 40 {
		m.Pieces = append(m.Pieces, one.Pieces[0])
	}
	var free atomic.Uint64
	free.Store(1 << 40)
	p := openFaulty(t, target(t, t.TempDir(), "a", m), m, &journal{}, &filestore.Faults{
		NoSync:      true,
		FreeSpace:   func() (uint64, error) { return free.Load(), nil },
		Preallocate: func(f *os.File) error { return f.Truncate(m.Size) },
	})
	put := func(i int) error {
		_, err := p.WritePiece(i, same)
		return err
	}
	free.Store(64<<20 + length - 1)
	for i := range 15 {
		check(t, put(i))
	}
	for range 3 {
		wantCode(t, "WritePiece after 256 MiB", put(15), protocol.CodeDiskFull)
	}
	free.Store(64<<20 + length)
	check(t, put(15))
	check(t, put(16))
	check(t, p.Remove())
}

func TestNoHardLinks(t *testing.T) {
	content := random(5*1024, 1)
	m := describe("a", content, 1024)
	to := target(t, t.TempDir(), "a", m)
	p := openFaulty(t, to, m, &journal{}, &filestore.Faults{Link: func() error {
		return &os.LinkError{Op: "linkat", Err: syscall.EPERM}
	}})
	writeMissing(t, p, content)
	finish(t, p, to, content)
	finish(t, p, to, content)
	check(t, p.Close())
}

// No bit reaches the journal before its piece is synced.
func TestDataBeforeRecord(t *testing.T) {
	content := random(300*1024, 1)
	m := describe("a", content, 1024)
	to := target(t, t.TempDir(), "a", m)
	var mu sync.Mutex
	written, synced := map[int]bool{}, map[int]bool{}
	j := &journal{saved: func(bits []byte) {
		mu.Lock()
		defer mu.Unlock()
		for i := range m.Pieces {
			if hasBit(bits, i) && !synced[i] {
				t.Errorf("piece %d is in the journal and was not synced", i)
			}
		}
	}}
	p := openFaulty(t, to, m, j, &filestore.Faults{
		Written: func(off int64, _ int) {
			mu.Lock()
			defer mu.Unlock()
			written[int(off/1024)] = true
		},
		Sync: func() error {
			mu.Lock()
			defer mu.Unlock()
			for i := range written {
				synced[i] = true
			}
			return nil
		},
	})
	inParallel(4, len(m.Pieces), func(i int) { write(t, p, content, i) })
	finish(t, p, to, content)
	check(t, p.Close())
	if len(synced) != len(m.Pieces) {
		t.Errorf("%d of %d pieces were synced", len(synced), len(m.Pieces))
	}
}

func TestJournalPace(t *testing.T) {
	content := random(130*protocol.PieceLength, 1)
	m := describe("a", content, protocol.PieceLength)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		to := target(t, dir, "a", m)
		j := &journal{}
		p := openPartial(t, to, m, j)
		defer p.Close()
		write(t, p, content, 0)
		time.Sleep(1999 * time.Millisecond)
		synctest.Wait()
		if j.count() != 0 {
			t.Errorf("%d saves before 2 s", j.count())
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if j.count() != 1 {
			t.Errorf("%d saves after 2 s, want 1", j.count())
		}
		for i := 1; i <= 128; i++ {
			write(t, p, content, i)
			if i%16 != 0 {
				continue
			}
			synctest.Wait() // they are synced
			if want := 1 + i/128; j.count() != want {
				t.Errorf("%d saves after %d pieces, want %d", j.count(), i, want)
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if j.count() != 2 {
			t.Errorf("%d saves though nothing happened, want 2", j.count())
		}
	})
}

func TestSyncFault(t *testing.T) {
	content := random(8*1024, 1)
	m := describe("a", content, 1024)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		to := target(t, dir, "a", m)
		var fault atomic.Pointer[error]
		j := &journal{}
		rewritten := map[int64]int{}
		p := openFaulty(t, to, m, j, &filestore.Faults{
			Sync: func() error {
				if err := fault.Load(); err != nil {
					return *err
				}
				return nil
			},
			Written: func(off int64, _ int) { rewritten[off]++ },
		})
		write(t, p, content, 0)
		time.Sleep(3 * time.Second)
		full := error(syscall.ENOSPC)
		fault.Store(&full)
		write(t, p, content, 1, 2)
		time.Sleep(3 * time.Second)
		_, err := p.WritePiece(3, piece(m, content, 3))
		wantCode(t, "WritePiece after a failed sync", err, protocol.CodeDiskFull)
		if bits, _ := j.Load(); bits[0] != 0x80 {
			t.Errorf("journal = %x, want piece 0 alone", bits)
		}
		check(t, haveIsTrue(p, content))
		_, _, _, err = p.Finish(t.Context())
		wantCode(t, "Finish", err, protocol.CodeDiskFull)
		wantLost(t, p, false)
		// Meanwhile the system dropped what it could not write.
		f, err := os.OpenFile(filepath.Join(to.Dir, to.Part), os.O_WRONLY, 0)
		check(t, err)
		_, err = f.WriteAt(make([]byte, 1024), 1024)
		check(t, err)
		check(t, f.Close())
		fault.Store(nil)
		time.Sleep(3 * time.Second)
		wantLost(t, p, true)
		if bits, _ := j.Load(); bits[0] != 0xa0 {
			t.Errorf("journal = %x, want pieces 0 and 2", bits)
		}
		if rewritten[0] != 1 || rewritten[2048] < 2 {
			t.Errorf("writes = %v: what was not synced is written again, what was is not", rewritten)
		}
		check(t, haveIsTrue(p, content))
		writeMissing(t, p, content)
		finish(t, p, to, content)
		check(t, p.Close())
	})
}

// wantLost reports whether p has told that it lost pieces.
func wantLost(t *testing.T, p *filestore.Partial, want bool) {
	t.Helper()
	select {
	case <-p.Lost():
		if !want {
			t.Error("told of lost pieces, and there are none")
		}
	default:
		if want {
			t.Error("nobody was told of lost pieces")
		}
	}
}

// Whatever one failed sync has cost is told once, after all of it is known.
func TestLossIsToldOnce(t *testing.T) {
	content := random(12*1024, 1)
	m := describe("a", content, 1024)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var unreadable atomic.Bool
		p := openFaulty(t, target(t, dir, "a", m), m, &journal{}, &filestore.Faults{
			Sync: func() error {
				if unreadable.CompareAndSwap(false, true) {
					return syscall.EIO
				}
				return nil
			},
			Read: func(int64) error {
				if unreadable.Load() {
					time.Sleep(100 * time.Millisecond)
					return syscall.EIO
				}
				return nil
			},
		})
		for i := range m.Pieces {
			write(t, p, content, i)
		}
		told := 0
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			select {
			case <-p.Lost():
				told++
				if _, bits := p.Have(); !slices.Equal(bits, []byte{0, 0}) {
					t.Errorf("told while %x is there", bits)
				}
			default:
			}
		}
		if told != 1 {
			t.Errorf("told %d times of one loss", told)
		}
		check(t, p.Close())
	})
}

// A disk that is full at the sync loses nothing that reads back right, though it
// takes nothing that is written again.
func TestFullDiskLosesNothing(t *testing.T) {
	content := random(12*1024, 1)
	m := describe("a", content, 1024)
	dir := t.TempDir()
	for _, full := range []error{syscall.EDQUOT, syscall.ENOSPC} {
		t.Run(full.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var isFull atomic.Bool
				fault := func() error {
					if isFull.Load() {
						return full
					}
					return nil
				}
				to, j := target(t, dir, "a", m), &journal{}
				p := openFaulty(t, to, m, j, &filestore.Faults{
					Sync:  fault,
					Write: func(int64, int) error { return fault() },
				})
				write(t, p, content, 0, 1, 2)
				isFull.Store(true)
				time.Sleep(10 * time.Second)
				wantLost(t, p, false)
				if _, bits := p.Have(); bits[0] != 0xe0 {
					t.Errorf("Have = %x, want the first three", bits)
				}
				if j.count() != 0 {
					t.Error("what is not durable is recorded")
				}
				_, err := p.WritePiece(3, piece(m, content, 3))
				wantCode(t, "WritePiece", err, protocol.CodeDiskFull)
				isFull.Store(false)
				time.Sleep(3 * time.Second)
				wantLost(t, p, false)
				check(t, haveIsTrue(p, content))
				writeMissing(t, p, content)
				check(t, p.Remove())
			})
		})
	}
}

func TestJournalFault(t *testing.T) {
	content := random(8*1024, 1)
	m := describe("a", content, 1024)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		to := target(t, dir, "a", m)
		j := &journal{}
		p := openPartial(t, to, m, j)
		j.setFault(protocol.Errorf(protocol.CodeDiskFull, "full"))
		write(t, p, content, 0)
		time.Sleep(3 * time.Second)
		_, err := p.WritePiece(1, piece(m, content, 1))
		wantCode(t, "WritePiece", err, protocol.CodeDiskFull)
		j.setFault(nil)
		time.Sleep(3 * time.Second)
		writeMissing(t, p, content)
		finish(t, p, to, content)
		check(t, p.Close())
	})
}

func TestCloseTellsOfFault(t *testing.T) {
	content := random(8*1024, 1)
	m := describe("a", content, 1024)
	to := target(t, t.TempDir(), "a", m)
	j := &journal{}
	p := openPartial(t, to, m, j)
	write(t, p, content, 0)
	j.setFault(errors.New("broken"))
	wantCode(t, "Close", p.Close(), protocol.CodeState)
	// And so does opening with a journal that cannot be written.
	check(t, os.Truncate(filepath.Join(to.Dir, to.Part), 5))
	_, err := filestore.OpenPartial(t.Context(), to, m, j)
	wantCode(t, "OpenPartial", err, protocol.CodeState)
	j.setFault(nil)
	p = openPartial(t, to, m, j)
	writeMissing(t, p, content)
	finish(t, p, to, content)
	check(t, p.Close())
}

func TestReadFault(t *testing.T) {
	content := random(8*1024, 1)
	m := describe("a", content, 1024)
	to := target(t, t.TempDir(), "a", m)
	var broken atomic.Int64
	broken.Store(-1)
	p := openFaulty(t, to, m, &journal{}, &filestore.Faults{Read: func(off int64) error {
		if bad := broken.Load(); bad >= 0 && off/1024 == bad {
			return syscall.EIO
		}
		return nil
	}})
	writeMissing(t, p, content)
	broken.Store(3)
	_, err := p.ReadAt(make([]byte, 10), 3*1024)
	wantCode(t, "ReadAt", err, protocol.CodeState)
	broken.Store(-1)
	finish(t, p, to, content)
	check(t, p.Close())
}

func TestEndedContext(t *testing.T) {
	content := random(8*1024, 1)
	m := describe("a", content, 1024)
	to := target(t, t.TempDir(), "a", m)
	j := &journal{}
	p := openPartial(t, to, m, j)
	writeMissing(t, p, content)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, bad, err := p.Finish(ended); !errors.Is(err, context.Canceled) || bad != nil {
		t.Errorf("Finish = %v, %v, want canceled", bad, err)
	}
	check(t, p.Close())
	if _, err := filestore.OpenPartial(ended, to, m, &journal{}); !errors.Is(err, context.Canceled) {
		t.Errorf("OpenPartial = %v, want canceled", err)
	}
	p = openPartial(t, to, m, j)
	finish(t, p, to, content)
	check(t, p.Close())
}
