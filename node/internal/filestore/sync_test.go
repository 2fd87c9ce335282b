package filestore_test

import (
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

// No bit reaches the journal before its piece is synced.
func TestDataBeforeRecord(t *testing.T) {
	content, m := fileOf(300)
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
	content, m := fileOf(8)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		to := target(t, dir, "a", m)
		var fault diskFault
		j := &journal{}
		rewritten := map[int64]int{}
		p := openFaulty(t, to, m, j, &filestore.Faults{
			Sync:    fault.err,
			Written: func(off int64, _ int) { rewritten[off]++ },
		})
		write(t, p, content, 0)
		time.Sleep(3 * time.Second)
		fault.begin(syscall.ENOSPC)
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
		fault.end()
		time.Sleep(3 * time.Second)
		wantLost(t, p, true)
		if bits, _ := j.Load(); bits[0] != 0xa0 {
			t.Errorf("journal = %x, want pieces 0 and 2", bits)
		}
		if rewritten[0] != 1 || rewritten[2048] < 2 {
			t.Errorf("writes = %v: what was not synced is written again, what was is not", rewritten)
		}
		check(t, haveIsTrue(p, content))
		complete(t, p, to, content)
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
	content, m := fileOf(12)
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
	content, m := fileOf(12)
	dir := t.TempDir()
	for _, full := range []error{syscall.EDQUOT, syscall.ENOSPC} {
		t.Run(full.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var fault diskFault
				to, j := target(t, dir, "a", m), &journal{}
				p := openFaulty(t, to, m, j, &filestore.Faults{
					Sync:  fault.err,
					Write: func(int64, int) error { return fault.err() },
				})
				write(t, p, content, 0, 1, 2)
				fault.begin(full)
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
				fault.end()
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
	content, m := fileOf(8)
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
		complete(t, p, to, content)
	})
}

// A sync that failed is not forgotten with the Partial: the next one reads right
// what the system has in memory alone, and writes it once more before it syncs.
func TestDoubtOutlivesThePartial(t *testing.T) {
	content, m := fileOf(4)
	for _, finishes := range []bool{false, true} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			j, to := &journal{}, target(t, dir, "a", m)
			var fault diskFault
			p := openFaulty(t, to, m, j, &filestore.Faults{Sync: fault.err})
			write(t, p, content, 0)
			time.Sleep(3 * time.Second)
			fault.begin(syscall.EIO)
			write(t, p, content, 1, 2, 3)
			_, _, _, err := p.Finish(t.Context())
			wantCode(t, "Finish", err, protocol.CodeState)
			wantCode(t, "Close", p.Close(), protocol.CodeState)

			var done []int64 // offsets of writes, and -1 for a sync
			p = openFaulty(t, to, m, j, &filestore.Faults{
				Written: func(off int64, _ int) { done = append(done, off) },
				Sync:    func() error { done = append(done, -1); return nil },
			})
			if finishes {
				finish(t, p, to, content)
			} else {
				time.Sleep(3 * time.Second)
			}
			check(t, p.Close())
			if want := []int64{1024, 2048, 3072, -1}; !slices.Equal(done, want) {
				t.Errorf("the disk was told %v, want %v: writes at offsets, and then a sync", done, want)
			}
		})
	}
}
