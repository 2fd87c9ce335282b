package host_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
)

func TestLoadKeyMakesOneAndKeepsIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if _, _, err := host.LoadKey(dir, false); protocol.CodeOf(err) != protocol.CodeNotFound {
		t.Fatalf("error %v, want E_NOT_FOUND", err)
	}
	first, created, err := host.LoadKey(dir, true)
	if err != nil || !created {
		t.Fatalf("created %v, error %v", created, err)
	}
	second, created, err := host.LoadKey(dir, true)
	if err != nil || created || !first.Equals(second) {
		t.Fatalf("created %v, error %v, want the same key", created, err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "key"): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, error %v, want %v", path, info.Mode().Perm(), err, want)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("folder holds %v, error %v, want the key alone", entries, err)
	}
}

func TestLoadKeyRefuses(t *testing.T) {
	tests := []struct {
		name   string
		spoil  func(dir string) error
		want   protocol.Code
		onUnix bool
	}{
		{name: "key others can read", onUnix: true, want: protocol.CodePerm, spoil: func(dir string) error {
			return os.Chmod(filepath.Join(dir, "key"), 0o644)
		}},
		{name: "folder others can read", onUnix: true, want: protocol.CodePerm, spoil: func(dir string) error {
			return os.Chmod(dir, 0o755)
		}},
		{name: "open folder with other files", onUnix: true, want: protocol.CodePerm, spoil: func(dir string) error {
			if err := os.Rename(filepath.Join(dir, "key"), filepath.Join(dir, "other")); err != nil {
				return err
			}
			return os.Chmod(dir, 0o755)
		}},
		{name: "empty key", want: protocol.CodeState, spoil: func(dir string) error {
			return os.Truncate(filepath.Join(dir, "key"), 0)
		}},
		{name: "cut key", want: protocol.CodeState, spoil: func(dir string) error {
			return os.Truncate(filepath.Join(dir, "key"), 40)
		}},
		{name: "folder in its place", want: protocol.CodeState, spoil: func(dir string) error {
			path := filepath.Join(dir, "key")
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Mkdir(path, 0o700)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.onUnix && runtime.GOOS == "windows" {
				return
			}
			dir := filepath.Join(t.TempDir(), "data")
			if _, _, err := host.LoadKey(dir, true); err != nil {
				t.Fatal(err)
			}
			if err := tt.spoil(dir); err != nil {
				t.Fatal(err)
			}
			if _, _, err := host.LoadKey(dir, true); protocol.CodeOf(err) != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func TestLoadKeyClosesAnEmptyFolder(t *testing.T) {
	dir := t.TempDir()
	unlock, err := host.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	for range 2 {
		if _, _, err := host.LoadKey(dir, true); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMain lets this binary be the other process of TestLockAgainstAProcess.
func TestMain(m *testing.M) {
	if dir := os.Getenv("P2PSHARE_TEST_LOCK"); dir != "" {
		_, err := host.Lock(dir)
		fmt.Println(protocol.CodeOf(err), err)
		return
	}
	os.Exit(m.Run())
}

func TestLockAgainstAProcess(t *testing.T) {
	dir := t.TempDir()
	unlock, err := host.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	other := func() string {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "P2PSHARE_TEST_LOCK="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	want := fmt.Sprintf("E_LOCKED another p2pshare (pid %d) uses %s", os.Getpid(), dir)
	if got := other(); !strings.HasPrefix(got, want) {
		t.Errorf("other process got %q, want %q", got, want)
	}
	if _, err := host.Lock(dir); protocol.CodeOf(err) != protocol.CodeLocked {
		t.Errorf("second lock in one process: %v, want E_LOCKED", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if got := other(); !strings.HasPrefix(got, " <nil>") {
		t.Errorf("after unlock the other process got %q", got)
	}
}

// Of several first starts at once one makes the key, and all have that one.
func TestKeyIsMadeOnce(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		const starts = 8
		ids, made := make([]string, starts), make([]bool, starts)
		var running sync.WaitGroup
		begin := make(chan struct{})
		for i := range starts {
			running.Go(func() {
				<-begin
				key, created, err := host.LoadKey(dir, true)
				if err != nil {
					t.Error(err)
					return
				}
				raw, err := key.Raw()
				if err != nil {
					t.Error(err)
				}
				ids[i], made[i] = string(raw), created
			})
		}
		close(begin)
		running.Wait()
		count := 0
		for i := range starts {
			if ids[i] != ids[0] {
				t.Fatal("two starts have two keys")
			}
			if made[i] {
				count++
			}
		}
		if count != 1 {
			t.Fatalf("%d starts made the key", count)
		}
		left, err := filepath.Glob(filepath.Join(dir, ".key-*"))
		if err != nil || len(left) > 0 {
			t.Errorf("left over: %v, %v", left, err)
		}
	}
}

// A fault of the disk names the path once.
func TestKeyFaultNamesThePathOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := host.LoadKey(file, false); err == nil || strings.Count(err.Error(), file) != 1 {
		t.Errorf("got %v", err)
	}
}
