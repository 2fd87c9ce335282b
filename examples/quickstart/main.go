// Quickstart fetches a file; the password comes from standard input: go run ./examples/quickstart TRACKER_INFO USER GROUP FILE
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"

	"github.com/p2pshare/p2pshare/node"
)

func main() {
	password, _, _ := bufio.NewReader(os.Stdin).ReadLine() // without one the login says so
	if err := run(context.Background(), os.Args[1], os.Args[2], string(password), os.Args[3], os.Args[4]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, trackers, user, password, group, file string) error {
	n, err := node.New(node.WithDataDir("quickstart-state"), node.WithTrackerFile(trackers))
	if err != nil {
		return err
	}
	defer n.Close()
	if _, err := n.Login(ctx, user, password); err != nil {
		return err
	}
	dl, err := n.Download(ctx, group, file, "")
	if err != nil {
		return err
	}
	for p := range dl.Updates() {
		fmt.Printf("\r%d of %d bytes from %d peers ", p.Done, p.Total, p.Peers)
	}
	_, err = dl.Wait(ctx)
	return err
}
