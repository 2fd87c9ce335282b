package compare

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/p2pshare/p2pshare/protocol"
)

// freeMemory is what the system could give to this process, known only where it
// says so: what the machine has left, or less where this process is confined to
// a share of it. root is where the system's files are, "/" but for tests.
func freeMemory(root string) (bytes int64, known bool) {
	bytes, known = available(filepath.Join(root, "proc/meminfo"))
	for _, limit := range []struct{ most, used, stat string }{
		{"memory.max", "memory.current", "memory.stat"}, // of control groups, version 2
		{"memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"},
	} {
		in := func(name string) string { return filepath.Join(root, "sys/fs/cgroup", name) }
		most, limited := number(in(limit.most))
		used, told := number(in(limit.used))
		if !limited || !told {
			continue
		}
		// Pages of files that were read are given up when memory is wanted.
		left := max(0, most-used+field(in(limit.stat), "inactive_file "))
		if !known || left < bytes {
			bytes, known = left, true
		}
	}
	return bytes, known
}

// available reads what the machine has left.
func available(meminfo string) (bytes int64, known bool) {
	kib := field(meminfo, "MemAvailable:")
	return kib << 10, kib > 0
}

// number reads a file of one number; "max" and what cannot be read is none.
func number(path string) (n int64, ok bool) {
	content, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err = strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
	return n, err == nil
}

// field reads the number behind the name at the beginning of a line, 0 if there
// is none.
func field(path, name string) int64 {
	content, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(content)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok {
			continue
		}
		words := strings.Fields(rest)
		if len(words) == 0 {
			return 0
		}
		n, err := strconv.ParseInt(words[0], 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	return 0
}

func checkRoom(dir string, need int64) error {
	free, known := freeDisk(dir)
	if known && free < need {
		return protocol.Errorf(protocol.CodeDiskFull, "the files of the comparison need %s in %s, %s are free; take a smaller --size or fewer --peers",
			humanize.IBytes(uint64(need)), protocol.Printable(dir), humanize.IBytes(uint64(free)))
	}
	return nil
}
