//go:build unix

package compare

import "golang.org/x/sys/unix"

// freeDisk is what this user may still store in dir, in bytes.
func freeDisk(dir string) (bytes int64, known bool) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true //nolint:unconvert // the types differ between systems
}
