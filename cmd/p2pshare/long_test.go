package main_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
)

// long skips what takes too long for every change, and gives the rest time.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("P2PSHARE_LONG") == "" {
		t.Skip("takes minutes and gigabytes of disk: run it with make long")
	}
}

// maxMemory is what no process may take of the machine, RssAnon + RssShmem.
const maxMemory = 200 << 20

func TestLongTwoGiBToThree(t *testing.T) {
	long(t)
	n := newNetwork(t, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	n.ctx = ctx
	c := n.users("lab", "ada", "bob", "carol", "dave")
	path, sum := n.file("big.bin", 2<<30, 42)
	n.do(c[0], "upload_file lab "+path)
	started := time.Now()
	for _, c := range c[1:] {
		n.do(c, "download_file lab big.bin &")
	}
	for _, c := range c[1:] {
		var r struct{ Downloads []world.Downloaded }
		if err := c.Do(n.ctx, "wait", &r); err != nil {
			t.Fatal(err)
		}
		if len(r.Downloads) != 1 || r.Downloads[0].SHA1 != sum || len(r.Downloads[0].Peers) < 2 {
			t.Fatalf("%s: got %+v, want sha1 %s from at least two peers", c.Name, r.Downloads, sum)
		}
		n.wantSHA1(filepath.Join(c.Downloads, "big.bin"), sum)
		t.Logf("%s: %.1f s, %d bytes wasted, from %+v", c.Name, r.Downloads[0].Seconds, r.Downloads[0].Wasted, r.Downloads[0].Peers)
	}
	t.Logf("three copies of 2 GiB in %v", time.Since(started).Round(time.Second))
	procs := append([]*world.Proc{}, n.trackers...)
	for _, c := range c {
		procs = append(procs, c.Proc)
	}
	for _, p := range procs {
		peak := p.PeakMemory()
		t.Logf("%s: %d MiB of memory at its peak", p.Name, peak>>20)
		if peak == 0 || peak > maxMemory {
			t.Errorf("%s took %d bytes of memory, at most %d are allowed", p.Name, peak, maxMemory)
		}
	}
}
