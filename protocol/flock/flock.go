// Package flock takes advisory locks that end with the process that holds
// them, however it ends. Data folders of trackers and clients, and partial
// files, are guarded by it. It knows nothing of what the locked files mean.
package flock

import "os"

// Try locks f for this open file alone and reports whether it could: false
// means that another process, or another open of the same file in this one,
// holds the lock. It never waits. Closing f unlocks. On a file system without
// locks it reports true: such a guard is better missing than in the way.
func Try(f *os.File) (bool, error) { return try(f) }
