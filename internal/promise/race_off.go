//go:build !race

package promise

// crowded is how many times as long something may take among all other tests.
const crowded = 3
