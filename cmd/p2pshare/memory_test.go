package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// maxDownloader is what a downloader may take of the machine, RssAnon +
// RssShmem, however large the file is.
const maxDownloader = 96 << 20

// downloaderMemory fetches a file without content, which costs no time to make
// and is as large as any other for who fetches it.
func downloaderMemory(t *testing.T, size int64) {
	t.Helper()
	n := newNetwork(t, 1)
	n.ctx = t.Context()
	c := n.users("lab", "ada", "bob")
	path := filepath.Join(n.Dir, "sparse.bin")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	n.do(c[0], "upload_file lab "+path)
	if d := n.download(c[1], "lab", "sparse.bin"); d.Size != size {
		t.Fatalf("%d bytes came, want %d", d.Size, size)
	}
	peak := c[1].PeakMemory()
	if peak == 0 {
		t.Skip("this system does not tell how much memory a process takes")
	}
	t.Logf("%d MiB: the downloader took %d MiB, the seeder %d MiB", size>>20, peak>>20, c[0].PeakMemory()>>20)
	if peak > maxDownloader {
		t.Errorf("the downloader of %d MiB took %d bytes of memory, at most %d are allowed", size>>20, peak, maxDownloader)
	}
}

func TestDownloaderMemory(t *testing.T) { downloaderMemory(t, 256<<20) }

func TestLongDownloaderMemory(t *testing.T) {
	long(t)
	for _, gib := range []int64{1, 4, 16} {
		t.Run(fmt.Sprintf("%d GiB", gib), func(t *testing.T) { downloaderMemory(t, gib<<30) })
	}
}
