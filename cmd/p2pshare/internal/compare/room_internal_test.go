package compare

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
)

// Too little memory is told before anything starts, with what is needed, and
// nothing is made.
func TestTooLittleMemory(t *testing.T) {
	c := Config{Peers: []int{2, 16, 4}, Size: 16 << 20, Uplink: 8 << 20, Downlink: 8 << 20, Out: filepath.Join(t.TempDir(), "new")}
	const need = 17 * hostMemory
	err := c.check(need-1, true)
	if protocol.CodeOf(err) != protocol.CodeConfig || !strings.Contains(err.Error(), "--peers 16: needs about 816 MiB of memory") {
		t.Errorf("with a byte too little: %v", err)
	}
	if _, err := os.Stat(c.Out); !os.IsNotExist(err) {
		t.Errorf("the folder was made: %v", err)
	}
	if err := c.check(0, false); err != nil {
		t.Errorf("where nobody says how much there is: %v", err)
	}
	if err := c.check(need, true); err != nil {
		t.Errorf("with just enough: %v", err)
	}
}

func TestFreeMemory(t *testing.T) {
	const meminfo = "MemTotal:  8000 kB\nMemAvailable:   4000 kB\n"
	tests := []struct {
		name  string
		files map[string]string
		want  int64
		known bool
	}{
		{"a system that does not say", nil, 0, false},
		{"a machine", map[string]string{"proc/meminfo": meminfo}, 4000 << 10, true},
		{"unreadable", map[string]string{"proc/meminfo": "MemAvailable: much\n"}, 0, false},
		{"a group without a limit", map[string]string{
			"proc/meminfo": meminfo, "sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "1000\n",
		}, 4000 << 10, true},
		{"a group with less than the machine", map[string]string{
			"proc/meminfo": meminfo, "sys/fs/cgroup/memory.max": "2048000\n", "sys/fs/cgroup/memory.current": "1024000\n",
			"sys/fs/cgroup/memory.stat": "active_file 9999\ninactive_file 24000\n",
		}, 1048000, true},
		{"a group that may take more than there is", map[string]string{
			"proc/meminfo": meminfo, "sys/fs/cgroup/memory.max": "20480000\n", "sys/fs/cgroup/memory.current": "1024\n",
		}, 4000 << 10, true},
		{"a group beyond its limit", map[string]string{
			"proc/meminfo": meminfo, "sys/fs/cgroup/memory.max": "1000\n", "sys/fs/cgroup/memory.current": "2000\n",
		}, 0, true},
		{"a group of the first version", map[string]string{
			"proc/meminfo": meminfo, "sys/fs/cgroup/memory/memory.limit_in_bytes": "3000000\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000000\n",
		}, 2000000, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for name, content := range tt.files {
				path := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got, known := freeMemory(root); got != tt.want || known != tt.known {
				t.Errorf("freeMemory = %d, %v, want %d, %v", got, known, tt.want, tt.known)
			}
		})
	}
}
