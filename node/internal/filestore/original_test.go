package filestore_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/protocol"
)

// original hashes and opens a new file.
func original(t *testing.T, content []byte) (path string, stamp filestore.Stamp, o *filestore.Original) {
	t.Helper()
	path = writeFile(t, t.TempDir(), "an original", content)
	m, stamp, err := filestore.Hash(t.Context(), path, nil)
	check(t, err)
	o, err = filestore.OpenOriginal(path, stamp, m)
	check(t, err)
	t.Cleanup(func() { _ = o.Close() })
	return path, stamp, o
}

func TestOriginalReads(t *testing.T) {
	content := random(600_000, 1)
	_, _, o := original(t, content)
	tests := []struct {
		name      string
		off, n    int64
		wantN     int64
		wantError error
	}{
		{"start", 0, 10, 10, nil},
		{"over two pieces", 524_280, 20, 20, nil},
		{"the last bytes", 599_990, 10, 10, nil},
		{"over the end", 599_990, 11, 10, io.EOF},
		{"at the end", 600_000, 1, 0, io.EOF},
		{"before the start", -1, 1, 0, io.EOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := make([]byte, tt.n)
			n, err := o.ReadAt(b, tt.off)
			if int64(n) != tt.wantN || !errors.Is(err, tt.wantError) {
				t.Fatalf("ReadAt = %d, %v, want %d, %v", n, err, tt.wantN, tt.wantError)
			}
			if n > 0 && string(b[:n]) != string(content[tt.off:][:n]) {
				t.Error("wrong bytes")
			}
		})
	}
	o.Subscribe(func(int) { t.Error("an original got a piece") })()
	check(t, o.Close())
	_, err := o.ReadAt(make([]byte, 1), 0)
	wantCode(t, "ReadAt after Close", err, protocol.CodeNotFound)
}

// changes are what may befall a shared file.
var changes = []struct {
	name   string
	change func(path string) error
	want   protocol.Code
}{
	{"grown", func(path string) error { return os.Truncate(path, 2000) }, protocol.CodeSourceChanged},
	{"cut", func(path string) error { return os.Truncate(path, 10) }, protocol.CodeSourceChanged},
	{"rewritten", func(path string) error {
		return errors.Join(os.WriteFile(path, random(1000, 2), 0o600), os.Chtimes(path, time.Time{}, time.Unix(1, 0)))
	}, protocol.CodeSourceChanged},
	{"replaced by the same", func(path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		other := path + " 2"
		return errors.Join(os.WriteFile(other, random(1000, 1), 0o600), os.Chtimes(other, time.Time{}, info.ModTime()), os.Rename(other, path))
	}, protocol.CodeSourceChanged},
	{"deleted", os.Remove, protocol.CodeNotFound},
	{"moved", func(path string) error { return os.Rename(path, path+" 2") }, protocol.CodeNotFound},
}

func TestOriginalNoticesChange(t *testing.T) {
	for _, tt := range changes {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path, stamp, o := original(t, random(1000, 1))
				check(t, o.Changed())
				check(t, tt.change(path))
				time.Sleep(time.Second) // of the bubble: the file is looked at once a second
				_, err := o.ReadAt(make([]byte, 5), 0)
				wantCode(t, "ReadAt", err, tt.want)
				// Even when the file comes back.
				check(t, os.WriteFile(path, random(1000, 1), 0o600))
				check(t, os.Chtimes(path, time.Time{}, stamp.ModTime))
				time.Sleep(time.Minute)
				_, err = o.ReadAt(make([]byte, 5), 0)
				wantCode(t, "ReadAt later", err, tt.want)
				wantCode(t, "Changed", o.Changed(), tt.want)
			})
		})
	}
}

func TestOpenOriginalNoticesChange(t *testing.T) {
	for _, tt := range changes {
		t.Run(tt.name, func(t *testing.T) {
			path, stamp, o := original(t, random(1000, 1))
			check(t, tt.change(path))
			_, err := filestore.OpenOriginal(path, stamp, o.Manifest())
			wantCode(t, "OpenOriginal", err, tt.want)
			wantCode(t, "Changed", o.Changed(), tt.want)
		})
	}
	t.Run("folder now", func(t *testing.T) {
		path, stamp, o := original(t, random(1000, 1))
		check(t, os.Remove(path))
		check(t, os.Mkdir(path, 0o700))
		_, err := filestore.OpenOriginal(path, stamp, o.Manifest())
		wantCode(t, "OpenOriginal", err, protocol.CodeNotRegular)
	})
	t.Run("cut while open", func(t *testing.T) {
		path, _, o := original(t, random(1000, 1))
		check(t, os.Truncate(path, 10))
		// Within the second in which nobody looks, a short read tells.
		_, err := o.ReadAt(make([]byte, 100), 500)
		wantCode(t, "ReadAt", err, protocol.CodeSourceChanged)
		wantCode(t, "Changed", o.Changed(), protocol.CodeSourceChanged)
	})
}

func TestOriginalLooksOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, _, o := original(t, random(1000, 1))
		check(t, os.Rename(path, path+" 2"))
		time.Sleep(999 * time.Millisecond)
		if _, err := o.ReadAt(make([]byte, 5), 0); err != nil {
			t.Errorf("ReadAt within a second of the last look = %v", err)
		}
		time.Sleep(time.Millisecond)
		_, err := o.ReadAt(make([]byte, 5), 0)
		wantCode(t, "ReadAt a second later", err, protocol.CodeNotFound)
	})
}

func TestOriginalByRelativePath(t *testing.T) {
	path, stamp, o := original(t, random(1000, 1))
	t.Chdir(filepath.Dir(path))
	rel, err := filestore.OpenOriginal(filepath.Base(path), stamp, o.Manifest())
	check(t, err)
	t.Chdir(t.TempDir())
	check(t, rel.Changed())
	check(t, rel.Close())
}

// A change is noticed before any byte of it is read, however soon after the
// last look.
func TestOriginalNeverReadsOtherBytes(t *testing.T) {
	path, _, o := original(t, random(1000, 1))
	_, err := o.ReadAt(make([]byte, 10), 0)
	check(t, err)
	check(t, errors.Join(os.WriteFile(path, random(1000, 2), 0o600), os.Chtimes(path, time.Time{}, time.Unix(1, 0))))
	if n, err := o.ReadAt(make([]byte, 10), 0); n != 0 || protocol.CodeOf(err) != protocol.CodeSourceChanged {
		t.Errorf("ReadAt after the change = %d, %v", n, err)
	}
}
