// Command p2pshare runs trackers and clients of a network in which people share
// big files inside closed groups, machine to machine. It is the only place that
// sees both sides; what it does itself is flags, files, signals and text.
package main

import "os"

func main() {
	os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr))
}
