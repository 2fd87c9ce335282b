//go:build race

package promise

// crowded is how many times as long something may take among all other tests,
// here with the race detector, which makes the processors some times as slow.
const crowded = 8
