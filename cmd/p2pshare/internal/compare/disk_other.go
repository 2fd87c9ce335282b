//go:build !unix

package compare

// freeDisk is not known here; a full disk shows when it is full.
func freeDisk(string) (bytes int64, known bool) { return 0, false }
