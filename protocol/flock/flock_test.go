package flock_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/p2pshare/p2pshare/protocol/flock"
)

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestTry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b.lock")
	first, second := open(t, path), open(t, path)
	if ok, err := flock.Try(first); !ok || err != nil {
		t.Fatalf("first Try = %v, %v, want true", ok, err)
	}
	if ok, err := flock.Try(second); ok || err != nil {
		t.Fatalf("Try of a locked file = %v, %v, want false", ok, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if ok, err := flock.Try(second); !ok || err != nil {
		t.Fatalf("Try after the holder closed = %v, %v, want true", ok, err)
	}
	if _, err := flock.Try(first); err == nil {
		t.Fatal("Try of a closed file gave no error")
	}
}
