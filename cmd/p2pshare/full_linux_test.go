package main_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/roster"
)

// A tracker whose disk is full refuses changes and goes on reading; clients go
// to the next one; it goes on by itself once there is room. (With an injected
// fault the same is tested in the replica; this is a real file system.)
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making a small file system takes root")
	}
	t.Parallel()
	n := newNetwork(t, 2)
	ada := n.users("lab", "ada")[0]
	if err := n.trackers[0].Stop(n.ctx); err != nil {
		t.Fatal(err)
	}
	small := filepath.Join(n.Dir, "small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Skipf("no small file system can be made here: %v", err)
	}
	t.Cleanup(func() {
		n.trackers[0].Kill()
		if err := syscall.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	})
	if err := os.CopyFS(filepath.Join(small, "data"), os.DirFS(filepath.Join(n.Dir, "tracker-1"))); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"data": 0o700, "data/key": 0o600} {
		if err := os.Chmod(filepath.Join(small, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	p, err := n.Tracker(n.ctx, 1, "--data", filepath.Join(small, "data"))
	if err != nil {
		t.Fatal(err)
	}
	n.trackers[0] = p
	list, err := roster.Read(n.Info)
	if err != nil {
		t.Fatal(err)
	}
	first := newCaller(t, list[0])
	if err := first.login(n.ctx, "ada"); err != nil {
		t.Fatal(err)
	}

	reader := newCaller(t, list[0])
	if err := reader.login(n.ctx, "ada"); err != nil {
		t.Fatal(err)
	}

	ballast := filepath.Join(small, "ballast")
	fill(t, ballast)
	refused := 0
	for i := range 200 { // some fit into pages that the file has already
		if err := first.logout(n.ctx); protocol.CodeOf(err) == protocol.CodeTrackerFull {
			if refused++; refused == 3 {
				break
			}
			continue
		} else if err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
		if err := first.login(n.ctx, "ada"); protocol.CodeOf(err) == protocol.CodeTrackerFull {
			refused++
			break
		} else if err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
	}
	if refused == 0 {
		t.Fatal("a full disk takes every change")
	}
	if _, err := reader.files(n.ctx, "lab"); err != nil {
		t.Errorf("reading at a tracker whose disk is full: %v", err)
	}
	n.do(ada, "create_group meanwhile")
	trouble := `the disk of the folder "` + regexp.QuoteMeta(filepath.Join(small, "data")) + `" is full since \S+; .* Make room there`
	n.says(p, "^warning: disk: E_TRACKER_FULL: "+trouble)
	if got := n.status(p, "serving"); !regexp.MustCompile("^yes, but: " + trouble).MatchString(got) {
		t.Errorf("serving: %s", got)
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	n.eventually("it takes changes again by itself", func() bool { return first.login(n.ctx, "ada") == nil })
	n.eventually("it has what was done meanwhile", func() bool {
		_, err := first.files(n.ctx, "meanwhile")
		return err == nil
	})
	n.within(30*time.Second, "it says that all is well", func() bool {
		return strings.Contains(p.Stderr(), "note: disk: the catalog in ") && n.status(p, "serving") == "yes"
	})
	if text := p.Stderr(); strings.Count(text, "warning: disk: ") != 1 || strings.Contains(text, "m=+") || strings.Contains(text, "write error") ||
		strings.Contains(text, "warning: login") {
		t.Errorf("on standard error stands\n%s", text)
	}
}

// fill writes a file until there is no room.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(fmt.Errorf("fill the disk: %w", err))
	}
	_ = f.Close() // it has failed already
}
