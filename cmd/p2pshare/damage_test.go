package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/protocol/roster"
)

// A tracker whose catalog is damaged does not serve it. It says how to go on,
// and that works.
func TestDamagedCatalogIsRebuilt(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2)
	n.users("lab", "ada", "bob")
	if err := n.trackers[1].Stop(n.ctx); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(n.Dir, "tracker-2", "catalog.db")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 2*os.Getpagesize() + 100; i < len(content); i += 512 {
		content[i] ^= 0x10
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := n.Begin(n.ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(n.ctx); err == nil || p.ExitCode() != 53 {
		t.Fatalf("with a damaged catalog it ends with %d, want 53 for E_STATE", p.ExitCode())
	}
	for _, want := range []string{"E_STATE", path, "Move it away and start again", "catches up from the others"} {
		if !strings.Contains(p.Stderr(), want) {
			t.Errorf("it does not say %q: %s", want, p.Stderr())
		}
	}

	if err := os.Rename(path, path+".damaged"); err != nil {
		t.Fatal(err)
	}
	n.startTracker(2)
	n.trackers[0].Kill()
	list, err := roster.Read(n.Info)
	if err != nil {
		t.Fatal(err)
	}
	alone := newCaller(t, list[1])
	if err := alone.login(n.ctx, "bob"); err != nil {
		t.Errorf("login at the tracker that was rebuilt: %v", err)
	}
	if _, err := alone.files(n.ctx, "lab"); err != nil {
		t.Errorf("bob's membership at the tracker that was rebuilt: %v", err)
	}
}
