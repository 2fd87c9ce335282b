package main_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	// maxDownloader is what a downloader may take of the machine, RssAnon +
	// RssShmem, however large the file is.
	maxDownloader = 96 << 20
	// maxGrowth is by how much a longer download may take more than a short one.
	// Pieces in flight have 32 MiB, and the collector leaves half as much again: a
	// machine that is busy for a moment fills that, another does not (19 and 51 MiB
	// were seen for the same file).
	maxGrowth = 48 << 20
)

// downloaderMemory fetches a file without content, which costs no time to make
// and is as large as any other for who fetches it. It returns what the
// downloader took.
func downloaderMemory(t *testing.T, size int64) (peak int64) {
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
	if peak = c[1].PeakMemory(); peak == 0 {
		t.Skip("this system does not tell how much memory a process takes")
	}
	t.Logf("%d MiB: the downloader took %d MiB, the seeder %d MiB", size>>20, peak>>20, c[0].PeakMemory()>>20)
	if peak > maxDownloader {
		t.Errorf("the downloader of %d MiB took %d bytes of memory, at most %d are allowed", size>>20, peak, maxDownloader)
	}
	return peak
}

// alike checks that what a downloader takes does not depend on the size.
func alike(t *testing.T, sizes ...int64) {
	t.Helper()
	var least, most int64
	for _, size := range sizes {
		peak := downloaderMemory(t, size)
		if least == 0 {
			least = peak
		}
		least, most = min(least, peak), max(most, peak)
	}
	if most > least+maxGrowth {
		t.Errorf("between %d and %d MiB were taken for files of %d to %d MiB", least>>20, most>>20, sizes[0]>>20, sizes[len(sizes)-1]>>20)
	}
}

// TestDownloaderMemory compares two sizes, the smaller of which is four times
// what may be in flight, or those of P2PSHARE_MIB. 4 GiB take 12 s on two cores
// that have nothing else to do, and as much of the disk: make memory is that.
func TestDownloaderMemory(t *testing.T) {
	apart(t)
	sizes := []int64{128 << 20, 512 << 20}
	if text := os.Getenv("P2PSHARE_MIB"); text != "" {
		sizes = nil
		for mib := range strings.SplitSeq(text, ",") {
			n, err := strconv.ParseInt(mib, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, n<<20)
		}
	}
	alike(t, sizes...)
}

func TestLongDownloaderMemory(t *testing.T) {
	long(t)
	alike(t, 1<<30, 4<<30, 16<<30)
}
