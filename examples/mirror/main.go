// Mirror follows a group and keeps a copy of every file in a folder, which it
// serves on: a member that is always there. It runs until it is interrupted:
//
//	go run ./examples/mirror TRACKER_INFO USER PASSWORD_FILE GROUP FOLDER
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"sync"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

func main() {
	if len(os.Args) != 6 {
		log.Fatal("usage: mirror TRACKER_INFO USER PASSWORD_FILE GROUP FOLDER")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, trackers, user, passwordFile, group, folder string) error {
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is no folder", folder)
	}
	password, err := os.ReadFile(passwordFile)
	if err != nil {
		return err
	}
	n, err := node.New(node.WithDataDir("mirror-state"), node.WithTrackerFile(trackers), node.WithDownloadDir(folder))
	if err != nil {
		return err
	}
	defer n.Close()
	if _, err := n.Login(ctx, user, strings.TrimRight(string(password), "\r\n")); err != nil {
		return err
	}

	m := &mirror{node: n, group: group}
	defer m.wg.Wait()
	events := n.Watch(ctx) // before the list, so that no file falls between
	files, err := n.Files(ctx, group)
	if err != nil {
		return err
	}
	for _, f := range files {
		m.fetch(ctx, f.Name)
	}
	for e := range events {
		if e.Kind == "new_file" && e.Group == group {
			m.fetch(ctx, e.File)
		}
	}
	return nil
}

// mirror fetches files of one group, each in a goroutine that ends with it.
type mirror struct {
	node  *node.Node
	group string
	wg    sync.WaitGroup
}

// fetch begins a download. A file that is here already is no fault.
func (m *mirror) fetch(ctx context.Context, name string) {
	dl, err := m.node.Download(ctx, m.group, name, "")
	if errors.Is(err, protocol.ErrExists) || errors.Is(err, protocol.ErrTargetExists) {
		return
	}
	if err != nil {
		log.Printf("%s: %v", protocol.Quote(name), err)
		return
	}
	m.wg.Go(func() {
		done, err := dl.Wait(ctx)
		switch {
		case err == nil:
			log.Printf("%s %s", done.SHA1, done.Path)
		case ctx.Err() == nil:
			log.Printf("%s: %v", protocol.Quote(name), err)
		}
	})
}
