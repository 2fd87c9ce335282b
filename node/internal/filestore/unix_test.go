//go:build !windows

package filestore_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/protocol"
)

// A FIFO without a writer would make a plain open wait for ever.
func TestFIFO(t *testing.T) {
	dir := t.TempDir()
	content := random(10_000, 1)
	m := describe("a", content, 4096)
	path, stamp, o := original(t, content)
	check(t, os.Remove(path))
	fifo := func(path string) {
		t.Helper()
		check(t, syscall.Mkfifo(path, 0o600))
	}
	fifo(path)
	_, _, err := filestore.Hash(t.Context(), path, nil)
	wantCode(t, "Hash", err, protocol.CodeNotRegular)
	_, err = filestore.OpenOriginal(path, stamp, o.Manifest())
	wantCode(t, "OpenOriginal", err, protocol.CodeNotRegular)
	tt := target(t, dir, "a", m)
	fifo(filepath.Join(dir, tt.Part))
	_, err = filestore.OpenPartial(t.Context(), tt, m, &journal{})
	wantCode(t, "OpenPartial", err, protocol.CodeState)
	check(t, os.Remove(filepath.Join(dir, tt.Part)))
	fifo(tt.Path())
	_, err = filestore.OpenPartial(t.Context(), tt, m, &journal{})
	wantCode(t, "OpenPartial", err, protocol.CodeTargetExists)
}

func TestModes(t *testing.T) {
	for _, mask := range []int{0o022, 0o077, 0o002} {
		content := random(10_000, 1)
		m := describe("a", content, 4096)
		tt := target(t, t.TempDir(), "a", m)
		old := syscall.Umask(mask)
		p := openPartial(t, tt, m, &journal{})
		info, err := os.Stat(filepath.Join(tt.Dir, tt.Part))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode of the partial file = %v, %v, want 0600", info.Mode(), err)
		}
		writeMissing(t, p, content)
		finish(t, p, tt, content)
		syscall.Umask(old)
		info, err = os.Stat(tt.Path())
		if want := os.FileMode(0o644 &^ mask); err != nil || info.Mode() != want {
			t.Errorf("mask %#o: mode of the file = %v, %v, want %v", mask, info.Mode(), err, want)
		}
		check(t, p.Close())
	}
}

func TestPartOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("not root: giving a file away is not possible here, so nothing was tried")
		return
	}
	m := describe("a", random(10_000, 1), 4096)
	tt := target(t, t.TempDir(), "a", m)
	path := writeFile(t, tt.Dir, tt.Part, make([]byte, 10_000))
	check(t, os.Chown(path, 1234, 1234))
	_, err := filestore.OpenPartial(t.Context(), tt, m, &journal{})
	wantCode(t, "OpenPartial", err, protocol.CodePerm)
}
