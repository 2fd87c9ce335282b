package filestore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

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
			content, m := fileOf(5)
			to := target(t, t.TempDir(), "a", m)
			var fault diskFault
			j := &journal{}
			p := openFaulty(t, to, m, j, &filestore.Faults{Write: func(int64, int) error { return fault.err() }})
			write(t, p, content, 0)
			fault.begin(tt.err)
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
			complete(t, p, to, content)
		})
	}
}

func TestNoRoom(t *testing.T) {
	_, m := fileOf(5)
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
	complete(t, p, to, content)
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
	content, m := fileOf(5)
	to := target(t, t.TempDir(), "a", m)
	p := openFaulty(t, to, m, &journal{}, &filestore.Faults{Link: func() error {
		return &os.LinkError{Op: "linkat", Err: syscall.EPERM}
	}})
	writeMissing(t, p, content)
	finish(t, p, to, content)
	finish(t, p, to, content)
	check(t, p.Close())
}

func TestCloseTellsOfFault(t *testing.T) {
	content, m := fileOf(8)
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
	complete(t, p, to, content)
}

func TestReadFault(t *testing.T) {
	content, m := fileOf(8)
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
	content, m := fileOf(8)
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
