//go:build unix

package main_test

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
)

// A tracker that finds its catalog damaged while it runs ends as it does at its
// start. Its clients go on at the other one, with what was damaged.
func TestDamageEndsARunningTracker(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2)
	c := n.users("lab", "ada", "bob")
	file, sum := n.file("data.bin", 1<<20, 7)
	n.do(c[0], "upload_file lab "+file)
	holder := n.holder(c[1])
	if holder == 0 {
		t.Fatal("bob is at no tracker")
	}
	path := filepath.Join(n.Dir, fmt.Sprint("tracker-", holder), "catalog.db")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	piece := sha1.Sum(content[:protocol.MinPieceLength])
	damageWhile(t, path, piece[:])

	if d := n.download(c[1], "lab", "data.bin"); d.SHA1 != sum {
		t.Errorf("got %+v", d)
	}
	p := n.trackers[holder-1]
	if err := p.Wait(n.ctx); err == nil || p.ExitCode() != 53 {
		t.Fatalf("the tracker ends with %d, want 53 for E_STATE", p.ExitCode())
	}
	for _, want := range []string{"E_STATE", path, "Move it away and start again"} {
		if !strings.Contains(p.Stderr(), want) {
			t.Errorf("it does not say %q: %s", want, p.Stderr())
		}
	}
	if strings.Contains(c[1].Stderr(), "E_STATE") {
		t.Errorf("the client says %s", c[1].Stderr())
	}
}

// damageWhile changes a bit of each copy of what is in a file that a process has open.
func damageWhile(t *testing.T, path string, what []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for rest := content; ; found++ {
		i := bytes.Index(rest, what)
		if i < 0 {
			break
		}
		at := len(content) - len(rest) + i
		if _, err := f.WriteAt([]byte{what[0] ^ 1}, int64(at)); err != nil {
			t.Fatal(err)
		}
		rest = rest[i+len(what):]
	}
	if found == 0 {
		t.Fatalf("%s does not have it", path)
	}
}
