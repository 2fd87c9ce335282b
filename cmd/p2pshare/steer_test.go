package main_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
	"github.com/p2pshare/p2pshare/internal/promise"
)

// TestLimitsHoldOverAllTransfers lets two downloads run at once under one limit
// at either end.
func TestLimitsHoldOverAllTransfers(t *testing.T) {
	apart(t)
	for _, flags := range [][2][]string{
		{{"--upload-limit", "2MiB"}, nil},
		{nil, {"--download-limit", "2MiB/s"}},
	} {
		t.Run(strings.Join(append(flags[0], flags[1]...), " "), func(t *testing.T) {
			n := newNetwork(t, 1)
			c := n.users("lab", "ada", "bob")
			for i, who := range []string{"ada", "bob"} {
				if flags[i] == nil {
					continue
				}
				n.quit(c[i])
				c[i] = n.client(who, flags[i]...)
			}
			const each = 2 << 20
			var sums []string
			for i, name := range []string{"one.bin", "two.bin"} {
				path, sum := n.file(name, each, uint64(i))
				n.do(c[0], "upload_file lab "+path)
				sums = append(sums, sum)
			}
			began := time.Now()
			n.do(c[1], "download_file lab one.bin &")
			n.do(c[1], "download_file lab two.bin &")
			var r struct{ Downloads []world.Downloaded }
			if err := c[1].Do(n.ctx, "wait", &r); err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			// 4 MiB at 2 MiB/s; the first 64 KiB come for nothing.
			if took < 1900*time.Millisecond || took > promise.Within(6*time.Second) {
				t.Errorf("4 MiB at 2 MiB/s took %v", took)
			}
			for i, d := range r.Downloads {
				if d.SHA1 != sums[i] {
					t.Errorf("got %+v, want sha1 %s", d, sums[i])
				}
			}
		})
	}
}

// TestPausedThroughKill pauses a download, kills the client, and lets it go on
// in another process; a second one is cancelled meanwhile.
func TestPausedThroughKill(t *testing.T) {
	apart(t)
	n := newNetwork(t, 1)
	c := n.users("lab", "ada", "bob")
	n.quit(c[1])
	bob := n.client("bob", "--download-limit", "8MiB")
	path, sum := n.file("data.bin", 32<<20, 3)
	other, _ := n.file("other.bin", 32<<20, 4)
	n.do(c[0], "upload_file lab "+path)
	n.do(c[0], "upload_file lab "+other)
	n.do(bob, "download_file lab other.bin &")
	n.eventually("some of it is there", func() bool { return n.progress(bob).Done > 0 })
	n.do(bob, "cancel_download lab other.bin")
	n.do(bob, "download_file lab data.bin &")
	n.eventually("some of it is there", func() bool { return n.progress(bob).Done > 0 })
	n.do(bob, "pause_download lab data.bin")
	if p := n.progress(bob); p.State != "paused" || p.Done == 0 || p.Done == p.Size {
		t.Errorf("got %+v, want it paused", p)
	}
	bob.Kill()
	bob = n.client("bob")
	if p := n.progress(bob); p.Name != "data.bin" || p.State != "paused" {
		t.Errorf("after the kill %+v, want it paused", p)
	}
	n.do(bob, "resume_download lab data.bin")
	var r struct{ Downloads []world.Downloaded }
	if err := bob.Do(n.ctx, "wait", &r); err != nil || len(r.Downloads) != 1 || r.Downloads[0].SHA1 != sum {
		t.Fatalf("got %+v, %v", r.Downloads, err)
	}
	entries, err := os.ReadDir(bob.Downloads)
	if err != nil || len(entries) != 1 || entries[0].Name() != "data.bin" {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}
