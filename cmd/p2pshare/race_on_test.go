//go:build race

package main_test

import "testing"

// apart skips a test under the race detector that is about what becomes of whole
// processes when they are killed or frozen, or short of disk, memory or files: it
// mostly waits. What runs in such a process is under the detector in the other
// tests here, and in those of node, tracker and the packages below them.
func apart(t *testing.T) {
	t.Helper()
	t.Skip("about whole processes: make test runs it, without the race detector")
}
