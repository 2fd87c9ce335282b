package rogue_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/netns"
	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/rogue"
	processes "github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/tracker"
)

// TestMain lets the test binary be a process that is attacked, so that its memory
// is its own, or one that works meanwhile.
func TestMain(m *testing.M) {
	roles := map[string]func(list, dir string) (role, error){"tracker": beTracker, "seeder": beSeeder, "member": beMember}
	be := roles[os.Getenv("ROGUE_ROLE")]
	if be == nil {
		os.Exit(m.Run())
	}
	r, err := be(os.Getenv("ROGUE_LIST"), os.Getenv("ROGUE_DIR"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready" + r.said)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(r.answer())
	}
	_ = r.Close()
}

// role is a process of these tests.
type role struct {
	io.Closer
	said   string       // behind "ready"
	answer func() error // to each line of standard input
}

func beTracker(list, dir string) (role, error) {
	entries, err := roster.Read(list)
	if err != nil {
		return role{}, err
	}
	t, err := tracker.New(tracker.Config{Trackers: entries, Number: 1, Dir: dir, NewNetwork: protocol.NewNetworkID()})
	if err != nil {
		return role{}, err
	}
	<-t.Ready()
	return role{Closer: t}, nil
}

// enter opens a node and gives it an account.
func enter(ctx context.Context, list, dir, user string) (*node.Node, error) {
	n, err := node.New(node.WithDataDir(filepath.Join(dir, "data")), node.WithDownloadDir(dir),
		node.WithListen(os.Getenv("ROGUE_LISTEN")+":0"), node.WithTrackerFile(list))
	if err != nil {
		return nil, err
	}
	if _, err := n.CreateUser(ctx, user, rogue.Password); err != nil {
		return nil, err
	}
	_, err = n.Login(ctx, user, rogue.Password)
	return n, err
}

// beSeeder is ada, who shares f.bin and g.bin in her group g and lets in whoever
// asks.
func beSeeder(list, dir string) (role, error) {
	ctx := context.Background()
	n, err := enter(ctx, list, dir, "ada")
	if err != nil {
		return role{}, err
	}
	if _, err := n.CreateGroup(ctx, "g"); err != nil {
		return role{}, err
	}
	for _, name := range []string{"f.bin", "g.bin"} {
		if _, _, err := n.Share(ctx, "g", filepath.Join(dir, name), nil); err != nil {
			return role{}, err
		}
	}
	go func() {
		for e := range n.Watch(ctx) {
			if e.Kind == "join_request" {
				_, _ = n.AcceptRequest(ctx, e.Group, e.User)
			}
		}
	}()
	return role{Closer: n}, nil
}

// beMember is somebody who comes now: who makes an account, logs in, becomes a
// member and fetches a file, and says how long it took to be logged in, to be a member, and all
// in all. Later it answers whether it can still list the files of the group.
func beMember(list, dir string) (role, error) {
	ctx, began := context.Background(), time.Now()
	n, err := enter(ctx, list, dir, os.Getenv("ROGUE_USER"))
	if err != nil {
		return role{}, err
	}
	login := time.Since(began)
	if _, err := n.JoinGroup(ctx, "g"); err != nil {
		return role{}, err
	}
	files := func() error {
		_, err := n.Files(ctx, "g")
		return err
	}
	for err = files(); protocol.CodeOf(err) == protocol.CodeNotMember; err = files() {
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		return role{}, err
	}
	membership := time.Since(began)
	d, err := n.Download(ctx, "g", os.Getenv("ROGUE_FILE"), "")
	if err != nil {
		return role{}, err
	}
	if _, err := d.Wait(ctx); err != nil {
		return role{}, err
	}
	said := fmt.Sprintf(" after %.2f s logged in, %.2f s a member, %.2f s with the file",
		login.Seconds(), membership.Seconds(), time.Since(began).Seconds())
	return role{Closer: n, said: said, answer: files}, nil
}

// start runs a role on a host, in a folder of its own, until the test ends at the
// latest. It returns what it said when it was ready.
func (w *world) start(at *netns.Host, role, dir string, env ...string) (p *processes.Proc, said string) {
	w.Helper()
	self, err := os.Executable()
	w.ok(err)
	cmd := at.Command(w.Context(), self)
	cmd.Env = append(os.Environ(), "ROGUE_ROLE="+role, "ROGUE_LIST="+w.roster, "ROGUE_DIR="+dir, "ROGUE_LISTEN="+at.Address())
	cmd.Env = append(cmd.Env, env...)
	p, err = processes.Start(role, cmd)
	w.ok(err)
	w.Cleanup(p.Kill)
	ctx, cancel := context.WithTimeout(w.Context(), 4*patience)
	defer cancel()
	line, err := p.Line(ctx)
	w.ok(err)
	said, ready := strings.CutPrefix(line, "ready")
	if !ready {
		w.Fatalf("%s: %s", role, line)
	}
	return p, said
}
