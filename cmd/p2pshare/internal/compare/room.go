package compare

import (
	"os"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/p2pshare/p2pshare/protocol"
)

// freeMemory is what the system could give away, known only where it says so.
func freeMemory() (bytes int64, known bool) {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(info)) {
		rest, ok := strings.CutPrefix(line, "MemAvailable:")
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		return kib << 10, err == nil
	}
	return 0, false
}

func checkRoom(dir string, need int64) error {
	free, known := freeDisk(dir)
	if known && free < need {
		return protocol.Errorf(protocol.CodeDiskFull, "the files of the comparison need %s in %s, %s are free; take a smaller --size or fewer --peers",
			humanize.IBytes(uint64(need)), protocol.Printable(dir), humanize.IBytes(uint64(free)))
	}
	return nil
}
