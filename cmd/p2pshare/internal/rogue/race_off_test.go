//go:build !race

package rogue_test

// raceFactor is how many times the memory a process may take.
const raceFactor = 1
