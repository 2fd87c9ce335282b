//go:build !unix

package main

// noCoreDumps has nothing to switch off here.
func noCoreDumps() {}

// maxOpenFiles is not limited here in a way that could be asked for.
func maxOpenFiles() (n uint64, ok bool) { return 0, false }
