//go:build !unix

package host

// OpenFiles returns how many files this process may have open; ok is false
// where that is not known.
func OpenFiles() (n int, ok bool) { return 0, false }
