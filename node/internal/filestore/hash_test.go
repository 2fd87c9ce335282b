package filestore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/p2pshare/p2pshare/internal/frugal"
	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestHash(t *testing.T) {
	tests := []struct {
		name string
		size int
	}{
		{"empty", 0},
		{"one byte.bin", 1},
		{"a chunk", 64 << 10},
		{"name with  spaces.tar.gz", 131_071},
		{"Übung – α.pdf", 131_072},
		{"日本語", 131_073},
		{"eight pieces", 1 << 20},
		{"more than all buffers", 9<<20 + 12_345},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			content := random(tt.size, uint64(i))
			path := writeFile(t, t.TempDir(), tt.name, content)
			last, calls := int64(-1), 0
			m, stamp, err := filestore.Hash(t.Context(), path, func(done, total int64) {
				if done < last || total != int64(tt.size) {
					t.Errorf("progress(%d, %d) after %d", done, total, last)
				}
				last = done
				calls++
			})
			check(t, err)
			length, err := protocol.PieceLengthFor(int64(tt.size))
			check(t, err)
			if want := describe(tt.name, content, int(length)); !reflect.DeepEqual(m.Encode(), want.Encode()) {
				t.Errorf("manifest = %+v\nwant %+v", m, want)
			}
			if last != int64(tt.size) || calls < 1 {
				t.Errorf("progress ended at %d after %d calls", last, calls)
			}
			if stamp.Size != int64(tt.size) || stamp.ModTime.IsZero() {
				t.Errorf("stamp = %+v", stamp)
			}
			o, err := filestore.OpenOriginal(path, stamp, m)
			check(t, err)
			check(t, haveIsRight(o, content))
			check(t, o.Close())
		})
	}
}

// haveIsRight reads a whole original.
func haveIsRight(o *filestore.Original, content []byte) error {
	if complete, _ := o.Have(); !complete {
		return errors.New("an original that is not complete")
	}
	got := make([]byte, len(content))
	if _, err := o.ReadAt(got, 0); err != nil && len(content) > 0 {
		return err
	}
	if string(got) != string(content) {
		return errors.New("an original reads wrong")
	}
	return nil
}

func TestHashRefuses(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	writeFile(t, dir, "bad\x1bname", []byte("x"))
	writeFile(t, dir, ".hidden", []byte("x"))
	tests := []struct {
		name, path string
		want       protocol.Code
	}{
		{"missing", "nothing here", protocol.CodeNotFound},
		{"folder", ".", protocol.CodeNotRegular},
		{"link to nowhere", "dangling", protocol.CodeNotFound},
		{"control character", "bad\x1bname", protocol.CodeName},
		{"hidden", ".hidden", protocol.CodeName},
		{"file as folder", ".hidden/x", protocol.CodeNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, _, err := filestore.Hash(t.Context(), filepath.Join(dir, tt.path), nil)
			wantCode(t, "Hash", err, tt.want)
			if m != nil {
				t.Errorf("manifest = %+v", m)
			}
		})
	}
}

func TestHashFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	content := random(1000, 1)
	check(t, os.Symlink(writeFile(t, dir, "real", content), filepath.Join(dir, "link")))
	m, _, err := filestore.Hash(t.Context(), filepath.Join(dir, "link"), nil)
	check(t, err)
	if want := describe("link", content, protocol.MinPieceLength); m.ID() != want.ID() {
		t.Errorf("manifest = %+v", m)
	}
}

func TestHashEndsWithContext(t *testing.T) {
	path := writeFile(t, t.TempDir(), "a", random(2<<20, 1))
	ctx, cancel := context.WithCancel(t.Context())
	_, _, err := filestore.Hash(ctx, path, func(done, _ int64) {
		if done > 0 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Hash = %v, want canceled", err)
	}
}

func TestHashOfChangingFile(t *testing.T) {
	tests := []struct {
		name   string
		change func(path string) error
	}{
		{"grows", func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("more")
			return errors.Join(err, f.Close())
		}},
		{"shrinks", func(path string) error { return os.Truncate(path, 700_000) }},
		{"is emptied", func(path string) error { return os.Truncate(path, 0) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := writeFile(t, t.TempDir(), "a", random(20<<20, 1))
			changed := false
			_, _, err := filestore.Hash(t.Context(), path, func(done, _ int64) {
				if done > 0 && !changed {
					changed = true
					check(t, tt.change(path))
				}
			})
			wantCode(t, "Hash", err, protocol.CodeSourceChanged)
		})
	}
}

func FuzzBitfield(f *testing.F) {
	f.Add([]byte{}, 0)
	f.Add([]byte{0xff}, 8)
	f.Add([]byte{0xff}, 7)
	f.Add([]byte{0x80, 0x80}, 9)
	f.Add([]byte{0x80, 0x40}, 9)
	f.Fuzz(func(t *testing.T, b []byte, pieces int) {
		defer frugal.Check(t)()
		if pieces < 0 || pieces > protocol.MaxPieces {
			return
		}
		count, ok := filestore.ParseBitfield(b, pieces)
		if ok && (len(b) != (pieces+7)/8 || count > pieces) {
			t.Errorf("%d bytes with %d bits pass for %d pieces", len(b), count, pieces)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	path := filepath.Join(b.TempDir(), "a")
	const size = 64 << 20
	check(b, os.WriteFile(path, random(size, 1), 0o600))
	b.SetBytes(size)
	for b.Loop() {
		if _, _, err := filestore.Hash(b.Context(), path, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWritePiece(b *testing.B) {
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			content := random(64<<20, 1)
			m := describe("a", content, protocol.PieceLength)
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				tt := target(b, b.TempDir(), "a", m)
				p := openPartial(b, tt, m, &journal{})
				inParallel(workers, len(m.Pieces), func(i int) {
					if _, err := p.WritePiece(i, piece(m, content, i)); err != nil {
						b.Error(err)
					}
				})
				check(b, p.Remove())
			}
		})
	}
}

// What cannot be shared, or not be read, is said once, and with what to do.
func TestWhatCannotBeHashedIsSaid(t *testing.T) {
	dir := t.TempDir()
	_, _, err := filestore.Hash(t.Context(), dir, nil)
	if want := `"` + dir + `" is a folder; only files can be shared, so pack it first, with tar or zip`; err == nil || err.Error() != want {
		t.Errorf("a folder: %v, want %s", err, want)
	}
	absent := filepath.Join(dir, "absent")
	fault := filestore.LocalFault(&fs.PathError{Op: "open", Path: absent, Err: fs.ErrNotExist}, "opening", absent)
	if want := `not found on this machine: opening "` + absent + `": file does not exist`; fault.Error() != want || !errors.Is(fault, fs.ErrNotExist) {
		t.Errorf("an absent file: %v, want %s", fault, want)
	}
}
