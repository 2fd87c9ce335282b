package node_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/tracker"
)

// Two members and a tracker in one process: ada shares a file, bob fetches it.
func Example() {
	dir, err := os.MkdirTemp("", "p2pshare")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if err := share(dir); err != nil {
		fmt.Println(err)
	}
	// Output:
	// ada shares notes.txt, 27 bytes
	// bob has "Parsing is not so difficult"
}

func share(dir string) error {
	ctx := context.Background()
	trackers, stop, err := startTracker(filepath.Join(dir, "tracker"))
	if err != nil {
		return err
	}
	defer stop()
	ada, err := logIn(ctx, dir, "ada", trackers)
	if err != nil {
		return err
	}
	defer ada.Close()
	bob, err := logIn(ctx, dir, "bob", trackers)
	if err != nil {
		return err
	}
	defer bob.Close()

	if _, err := ada.CreateGroup(ctx, "compilers"); err != nil {
		return err
	}
	if _, err := bob.JoinGroup(ctx, "compilers"); err != nil {
		return err
	}
	if _, err := ada.AcceptRequest(ctx, "compilers", "bob"); err != nil {
		return err
	}
	notes := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(notes, []byte("Parsing is not so difficult"), 0o644); err != nil {
		return err
	}
	shared, _, err := ada.Share(ctx, "compilers", notes, nil)
	if err != nil {
		return err
	}
	fmt.Printf("ada shares %s, %d bytes\n", shared.Name, shared.Size)
	d, err := bob.Download(ctx, "compilers", "notes.txt", filepath.Join(dir, "copy.txt"))
	if err != nil {
		return err
	}
	result, err := d.Wait(ctx)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(result.Path)
	if err != nil {
		return err
	}
	fmt.Printf("bob has %q\n", content)
	return nil
}

func logIn(ctx context.Context, dir, user string, trackers roster.Entry) (*node.Node, error) {
	n, err := node.New(
		node.WithDataDir(filepath.Join(dir, user)),
		node.WithTrackerEntries(trackers),
		node.WithListen("127.0.0.1:0"),
	)
	if err != nil {
		return nil, err
	}
	if _, err := n.CreateUser(ctx, user, "correct horse"); err != nil {
		return nil, err
	}
	_, err = n.Login(ctx, user, "correct horse")
	return n, err
}

// startTracker starts the one tracker of a new network.
func startTracker(dir string) (roster.Entry, func() error, error) {
	key, _, err := host.LoadKey(dir, true)
	if err != nil {
		return roster.Entry{}, nil, err
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return roster.Entry{}, nil, err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0") // finds a port that nobody uses
	if err != nil {
		return roster.Entry{}, nil, err
	}
	addr, _, err := roster.ParseAddr(free.Addr().String())
	if err := errors.Join(err, free.Close()); err != nil {
		return roster.Entry{}, nil, err
	}
	entry := roster.Entry{Number: 1, Text: roster.Format(addr, id), Addr: addr, ID: id}
	t, err := tracker.New(tracker.Config{Trackers: []roster.Entry{entry}, Number: 1, Dir: dir, NewNetwork: protocol.NewNetworkID()})
	if err != nil {
		return roster.Entry{}, nil, err
	}
	<-t.Ready()
	return entry, t.Close, nil
}
