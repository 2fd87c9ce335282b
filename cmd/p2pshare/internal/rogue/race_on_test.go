//go:build race

package rogue_test

// raceFactor is how many times the memory a process may take: the race detector
// is documented to take 5 to 10 times as much.
const raceFactor = 10
