package main_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
	"github.com/p2pshare/p2pshare/protocol"
)

// In virtual time TestFrozenSeederCostsLittle of tracker/internal/sim does the same.
func TestLongFrozenSeeder(t *testing.T) {
	long(t)
	frozenSeeder(t, 5*time.Second)
}

// The short form runs beside other tests, so its limit on time is wide.
func TestDiskFull(t *testing.T) {
	apart(t)
	diskFull(t, 10*time.Second)
}

func TestLongDiskFull(t *testing.T) {
	long(t)
	diskFull(t, 2*time.Second)
}

// One of four seeders is stopped in the middle of a piece: nothing tells that it
// is gone.
func frozenSeeder(t *testing.T, cost time.Duration) {
	t.Helper()
	n := newNetwork(t, 1)
	c := n.users("lab", "ada", "bob", "carol", "dave", "eve", "fred")
	path, sum := n.file("data.bin", 24<<20, 5)
	n.shareAll("lab", path, c[:4]...)
	var took [2]time.Duration
	for i, name := range []string{"eve", "fred"} {
		n.quit(c[4+i])
		leecher := n.client(name, "--download-limit", "8MiB")
		began := time.Now()
		n.do(leecher, "download_file lab data.bin &")
		if name == "fred" {
			n.eventually("some of it is there", func() bool { return n.progress(leecher).Done > 0 })
			frozen := c[3].Pid()
			if err := syscall.Kill(frozen, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := syscall.Kill(frozen, syscall.SIGCONT); err != nil {
					t.Error(err)
				}
			})
		}
		n.do(leecher, "wait")
		took[i] = time.Since(began)
		n.wantSHA1(filepath.Join(leecher.Downloads, "data.bin"), sum)
		n.quit(leecher) // or it would be one seeder more for the next
	}
	t.Logf("with four seeders %v, with one of them frozen %v", took[0].Round(time.Millisecond), took[1].Round(time.Millisecond))
	if took[1] > took[0]+cost {
		t.Errorf("a frozen seeder cost %v, %v is allowed", took[1]-took[0], cost)
	}
}

// The disk that a client has its data and its downloads on is full, then has
// room; a download leaves 64 MiB free. It is full again to the last byte while
// the download is under way, and the client is killed and starts in that state.
func diskFull(t *testing.T, told time.Duration) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root may mount the small file system that is to be full")
	}
	n := newNetwork(t, 1)
	small := filepath.Join(n.Dir, "small")
	if err := os.Mkdir(small, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=112m"); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(small, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	c := n.users("lab", "ada", "bob")
	n.quit(c[1])
	data := filepath.Join(small, "data")
	if err := os.CopyFS(data, os.DirFS(filepath.Join(n.Dir, "bob"))); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"": 0o700, "key": 0o600, "records.db": 0o600} {
		if err := os.Chmod(filepath.Join(data, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	bob := n.client("bob", "--data", data, "--downloads", small, "--download-limit", "8MiB")
	filler := filepath.Join(small, "filler")
	if err := os.WriteFile(filler, make([]byte, 40<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	path, sum := n.file("data.bin", 24<<20, 6)
	n.do(c[0], "upload_file lab "+path)
	n.do(bob, "download_file lab data.bin &")
	n.settled(bob, told, "waiting", string(protocol.CodeDiskFull))
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	n.eventually("some of it is there", func() bool { return n.progress(bob).Done > 0 })

	fill(t, filler)
	var had progress
	n.eventually("half of it is there, or it waits", func() bool {
		had = n.progress(bob)
		return had.Done >= had.Size/2 || had.State == "waiting"
	})
	t.Logf("without a free byte: %+v", had)
	bob.Kill()
	bob = n.client("bob", "--data", data, "--downloads", small, "--download-limit", "8MiB")
	if p := n.progress(bob); p.Name != "data.bin" || p.State == "failed" {
		t.Errorf("after a start on the full disk: %+v", p)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	var r struct{ Downloads []world.Downloaded }
	n.do2(bob, "wait", &r)
	n.wantSHA1(filepath.Join(small, "data.bin"), sum)
	if len(r.Downloads) != 1 {
		t.Errorf("after the restart: %+v", r.Downloads)
	}
	for _, d := range r.Downloads {
		if fetched := fetchedOf(t, d, had.Size); fetched > had.Size-had.Done {
			t.Errorf("%d bytes were fetched after the restart, %d were missing", fetched, had.Size-had.Done)
		}
	}
}
