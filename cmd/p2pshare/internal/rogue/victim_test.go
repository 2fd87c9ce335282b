package rogue_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/rogue"
	processes "github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/tracker"
)

// TestMain lets the test binary be the process that is attacked, so that its
// memory is its own.
func TestMain(m *testing.M) {
	victims := map[string]func(list, dir string) (io.Closer, error){"tracker": beTracker, "seeder": beSeeder}
	be := victims[os.Getenv("ROGUE_VICTIM")]
	if be == nil {
		os.Exit(m.Run())
	}
	c, err := be(os.Getenv("ROGUE_LIST"), os.Getenv("ROGUE_DIR"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = c.Close()
}

func beTracker(list, dir string) (io.Closer, error) {
	entries, err := roster.Read(list)
	if err != nil {
		return nil, err
	}
	t, err := tracker.New(tracker.Config{Trackers: entries, Number: 1, Dir: dir, NewNetwork: protocol.NewNetworkID()})
	if err != nil {
		return nil, err
	}
	<-t.Ready()
	return t, nil
}

// beSeeder is ada, who shares f.bin in her group g and lets bob in.
func beSeeder(list, dir string) (io.Closer, error) {
	ctx := context.Background()
	n, err := node.New(node.WithDataDir(filepath.Join(dir, "data")), node.WithDownloadDir(dir),
		node.WithListen("127.0.0.1:0"), node.WithTrackerFile(list))
	if err != nil {
		return nil, err
	}
	if _, err := n.CreateUser(ctx, "ada", rogue.Password); err != nil {
		return nil, err
	}
	if _, err := n.Login(ctx, "ada", rogue.Password); err != nil {
		return nil, err
	}
	if _, err := n.CreateGroup(ctx, "g"); err != nil {
		return nil, err
	}
	for _, name := range []string{"f.bin", "g.bin"} {
		if _, _, err := n.Share(ctx, "g", filepath.Join(dir, name), nil); err != nil {
			return nil, err
		}
	}
	go func() { // whoever asks is let in
		for e := range n.Watch(ctx) {
			if e.Kind == "join_request" {
				_, _ = n.AcceptRequest(ctx, e.Group, e.User)
			}
		}
	}()
	return n, nil
}

// start runs a victim in a folder until the test ends.
func (w *world) start(name, list, dir string) *processes.Proc {
	w.Helper()
	self, err := os.Executable()
	w.ok(err)
	cmd := exec.CommandContext(w.Context(), self)
	cmd.Env = append(os.Environ(), "ROGUE_VICTIM="+name, "ROGUE_LIST="+list, "ROGUE_DIR="+dir)
	p, err := processes.Start(name, cmd)
	w.ok(err)
	w.Cleanup(p.Kill)
	line, err := p.Line(w.Context())
	w.ok(err)
	if line != "ready" {
		w.Fatalf("%s: %s", name, line)
	}
	return p
}
