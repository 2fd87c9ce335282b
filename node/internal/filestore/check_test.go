package filestore_test

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/protocol"
)

// finished fetches content and finishes it.
func finished(t *testing.T, m *protocol.Manifest, content []byte) (filestore.Target, *journal, filestore.Stamp) {
	t.Helper()
	to, j := target(t, t.TempDir(), "a", m), &journal{}
	p := openPartial(t, to, m, j)
	complete(t, p, to, content)
	return to, j, stamp(t, to.Path())
}

func stamp(t *testing.T, path string) filestore.Stamp {
	t.Helper()
	info, err := os.Stat(path)
	check(t, err)
	return filestore.Stamp{Size: info.Size(), ModTime: info.ModTime()}
}

// rot changes bytes as a bad disk does: without anybody having written.
func rot(t *testing.T, path string, content []byte, offs ...int64) {
	t.Helper()
	before := stamp(t, path)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	check(t, err)
	for _, off := range offs {
		_, err = f.WriteAt([]byte{^content[off]}, off)
		check(t, err)
	}
	check(t, f.Close())
	check(t, os.Chtimes(path, time.Time{}, before.ModTime))
}

func TestCheckFinishedFindsNothing(t *testing.T) {
	for _, size := range []int{0, 1, 5 * 1024} {
		content := random(size, 1)
		m := describe("a", content, 1024)
		to, j, s := finished(t, m, content)
		if bad, err := filestore.CheckFinished(t.Context(), to, m, j, s); err != nil || bad != nil {
			t.Errorf("%d bytes: CheckFinished = %v, %v, want nothing", size, bad, err)
		}
	}
}

// What changed on disk behind our back is found, told, and fetched again.
func TestCheckFinishedTakesBack(t *testing.T) {
	content, m := fileOf(40)
	to, j, s := finished(t, m, content)
	rot(t, to.Path(), content, 0, 7*1024+5, 39*1024)
	bad, err := filestore.CheckFinished(t.Context(), to, m, j, s)
	if err != nil || !slices.Equal(bad, []int{0, 7, 39}) {
		t.Fatalf("CheckFinished = %v, %v, want 0 7 39", bad, err)
	}
	for range 2 { // the second time there is nothing to be done
		check(t, filestore.TakeBack(to, s))
	}
	if _, err := os.Lstat(to.Path()); !os.IsNotExist(err) {
		t.Errorf("a wrong file kept its name: %v", err)
	}
	bits, err := j.Load()
	if err != nil || hasBit(bits, 0) || hasBit(bits, 7) || hasBit(bits, 39) || !hasBit(bits, 1) {
		t.Errorf("journal = %x, %v, want 0, 7 and 39 gone", bits, err)
	}
	p := openPartial(t, to, m, j)
	check(t, haveIsTrue(p, content))
	write(t, p, content, bad...)
	finish(t, p, to, content)
	check(t, p.Close())
	check(t, filestore.TakeBack(to, s)) // nor is it done to the repaired file
	if bad, err := filestore.CheckFinished(t.Context(), to, m, j, stamp(t, to.Path())); err != nil || bad != nil {
		t.Errorf("CheckFinished of the repaired file = %v, %v", bad, err)
	}
}

// The user may do with a finished file as he likes, also while it is checked.
func TestCheckFinishedLeavesTheUsersFilesAlone(t *testing.T) {
	content, m := fileOf(5)
	tests := []struct {
		name string
		do   func(to filestore.Target) error
	}{
		{"gone", func(to filestore.Target) error { return os.Remove(to.Path()) }},
		{"changed", func(to filestore.Target) error {
			mine := bytes.Clone(content)
			mine[7] ^= 1
			return errors.Join(os.WriteFile(to.Path(), mine, 0o600), os.Chtimes(to.Path(), time.Time{}, time.Unix(1e9, 0)))
		}},
		{"another size", func(to filestore.Target) error { return os.WriteFile(to.Path(), []byte("mine"), 0o600) }},
		{"a folder", func(to filestore.Target) error {
			return errors.Join(os.Remove(to.Path()), os.Mkdir(to.Path(), 0o700))
		}},
		{"a link", func(to filestore.Target) error {
			return errors.Join(os.Rename(to.Path(), to.Path()+"2"), os.Symlink("a2", to.Path()))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			to, j, s := finished(t, m, content)
			check(t, tt.do(to))
			before, _ := os.Lstat(to.Path())
			bad, err := filestore.CheckFinished(t.Context(), to, m, j, s)
			wantCode(t, "CheckFinished", err, protocol.CodeNotFound)
			if bad != nil {
				t.Errorf("bad = %v", bad)
			}
			check(t, filestore.TakeBack(to, s))
			if after, _ := os.Lstat(to.Path()); (before == nil) != (after == nil) || before != nil && !os.SameFile(before, after) {
				t.Error("what is at the final name was moved")
			}
			if left := partials(t, to.Dir); len(left) > 0 {
				t.Errorf("it made %q", left)
			}
		})
	}
}

func TestCheckFinishedOfManifestThatContradictsItself(t *testing.T) {
	content, m := fileOf(5)
	m.SHA1[3] ^= 1
	to, j, s := finished(t, m, content)
	bad, err := filestore.CheckFinished(t.Context(), to, m, j, s)
	wantCode(t, "CheckFinished", err, protocol.CodeBadManifest)
	if len(bad) > 0 {
		t.Errorf("bad = %v", bad)
	}
}
