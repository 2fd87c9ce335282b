package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/tracker"
)

// world is a tracker, a server and clients in this process, each with its own
// folder, host and limits. All clients are in one group with the server; and
// each is in one with the server alone, where it can fetch from nobody else.
type world struct {
	cfg     Config
	dir     string
	tracker *tracker.Tracker
	server  *node.Node
	clients []*node.Node
	files   int // made so far
}

const (
	serverName = "server"
	together   = "together"
	// password is of accounts that live as long as their folder.
	password = "for this run alone"
)

func clientName(i int) string { return fmt.Sprintf("client-%d", i+1) }

// alone is the group of one client and the server.
func alone(i int) string { return fmt.Sprintf("alone %d", i+1) }

func open(ctx context.Context, c Config, clients int) (w *world, err error) {
	w = &world{cfg: c}
	if w.dir, err = os.MkdirTemp("", "p2pshare-compare-"); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	if err := w.populate(ctx, clients); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *world) populate(ctx context.Context, clients int) error {
	entry, err := w.startTracker(ctx)
	if err != nil {
		return err
	}
	if w.server, err = w.startNode(ctx, entry, serverName); err != nil {
		return err
	}
	if _, err := w.server.CreateGroup(ctx, together); err != nil {
		return err
	}
	for i := range clients {
		n, err := w.startNode(ctx, entry, clientName(i))
		if err != nil {
			return err
		}
		w.clients = append(w.clients, n)
		if err := join(ctx, n, w.server, together, clientName(i)); err != nil {
			return err
		}
		if _, err := n.CreateGroup(ctx, alone(i)); err != nil {
			return err
		}
		if err := join(ctx, w.server, n, alone(i), serverName); err != nil {
			return err
		}
	}
	return nil
}

func join(ctx context.Context, member, owner *node.Node, group, name string) error {
	if _, err := member.JoinGroup(ctx, group); err != nil {
		return err
	}
	_, err := owner.AcceptRequest(ctx, group, name)
	return err
}

func (w *world) startTracker(ctx context.Context) (entry roster.Entry, err error) {
	dir := filepath.Join(w.dir, "tracker")
	key, _, err := host.LoadKey(dir, true)
	if err != nil {
		return entry, err
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return entry, fmt.Errorf("derive the tracker's id: %w", err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0") // finds a port that nobody uses
	if err != nil {
		return entry, fmt.Errorf("find a port: %w", err)
	}
	addr, _, err := roster.ParseAddr(free.Addr().String())
	if err := errors.Join(err, free.Close()); err != nil {
		return entry, err
	}
	entry = roster.Entry{Number: 1, Text: roster.Format(addr, id), Addr: addr, ID: id}
	limits := map[string]string{}
	for _, l := range tracker.Limits() {
		limits[l.Name] = "off" // the only users are those of this run
	}
	w.tracker, err = tracker.New(tracker.Config{
		Trackers: []roster.Entry{entry}, Number: 1, Dir: dir, NewNetwork: protocol.NewNetworkID(), Limits: limits,
	})
	if err != nil {
		return entry, err
	}
	select {
	case <-w.tracker.Ready():
		return entry, nil
	case <-ctx.Done():
		return entry, ctx.Err()
	}
}

func (w *world) startNode(ctx context.Context, entry roster.Entry, name string) (*node.Node, error) {
	dir := filepath.Join(w.dir, name)
	downloads := filepath.Join(dir, "files")
	if err := os.MkdirAll(downloads, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of %s: %w", name, err)
	}
	n, err := node.New(
		node.WithDataDir(dir), node.WithTrackerEntries(entry), node.WithListen("127.0.0.1:0"),
		node.WithDownloadDir(downloads), node.WithUploadLimit(w.cfg.Uplink), node.WithDownloadLimit(w.cfg.Downlink),
	)
	if err != nil {
		return nil, err
	}
	if _, err := n.CreateUser(ctx, name, password); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	if _, err := n.Login(ctx, name, password); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// close ends everything and removes the folder. Nodes end side by side.
func (w *world) close() error {
	var wg sync.WaitGroup
	errs := make([]error, len(w.clients))
	for i, n := range w.clients {
		wg.Go(func() { errs[i] = n.Close() })
	}
	wg.Wait()
	if w.server != nil {
		errs = append(errs, w.server.Close())
	}
	if w.tracker != nil {
		errs = append(errs, w.tracker.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(w.dir))...)
}

// distribute has the first n clients fetch a new file, all at once, and returns
// the time until the last has it, and what the server sent.
func (w *world) distribute(ctx context.Context, n int, central bool) (took time.Duration, sent int64, err error) {
	path, err := w.makeFile()
	if err != nil {
		return 0, 0, err
	}
	groups := make([]string, n)
	for i := range groups {
		groups[i] = together
		if central {
			groups[i] = alone(i)
		}
		if _, _, err := w.server.Share(ctx, groups[i], path, nil); err != nil {
			return 0, 0, err
		}
	}
	name := filepath.Base(path)
	began := time.Now()
	downloads, err := w.begin(ctx, groups, name)
	if err != nil {
		return 0, 0, err
	}
	results, err := w.await(ctx, downloads, central)
	took = time.Since(began)
	if err != nil {
		return 0, 0, err
	}
	self := w.server.ID()
	for _, r := range results {
		for _, p := range r.Peers {
			if p.Peer == self {
				sent += int64(p.Pieces) * pieceLength(w.cfg.Size)
			}
		}
	}
	return took, min(sent, w.cfg.Size*int64(n)), w.clear(ctx, results, path, groups)
}

// begin starts a download by each client in its group, all at once.
func (w *world) begin(ctx context.Context, groups []string, name string) ([]*node.Download, error) {
	downloads := make([]*node.Download, len(groups))
	errs := make([]error, len(groups))
	var starting sync.WaitGroup
	for i, c := range w.clients[:len(groups)] {
		starting.Go(func() { downloads[i], errs[i] = c.Download(ctx, groups[i], name, "") })
	}
	starting.Wait()
	return downloads, errors.Join(errs...)
}

func pieceLength(size int64) int64 {
	n, err := protocol.PieceLengthFor(size)
	if err != nil {
		return protocol.MaxPieceLength
	}
	return n
}

// makeFile makes a file of random bytes: nothing of an earlier one is in it.
func (w *world) makeFile() (string, error) {
	w.files++
	path := filepath.Join(w.dir, fmt.Sprintf("file-%d.bin", w.files))
	f, err := os.Create(path)
	if err != nil {
		return "", fmt.Errorf("make the file: %w", err)
	}
	seed := [32]byte{byte(w.files), byte(w.files >> 8)}
	_, err = io.CopyN(f, rand.NewChaCha8(seed), w.cfg.Size)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("make the file: %w", err)
	}
	return path, nil
}

// await waits for all downloads and tells how far they are together.
func (w *world) await(ctx context.Context, downloads []*node.Download, central bool) ([]node.Result, error) {
	stop := make(chan struct{})
	var telling sync.WaitGroup
	if w.cfg.Progress != nil {
		telling.Go(func() { w.tell(downloads, central, stop) })
	}
	results := make([]node.Result, len(downloads))
	errs := make([]error, len(downloads))
	var wg sync.WaitGroup
	for i, d := range downloads {
		wg.Go(func() { results[i], errs[i] = d.Wait(ctx) })
	}
	wg.Wait()
	close(stop)
	telling.Wait()
	return results, errors.Join(errs...)
}

func (w *world) tell(downloads []*node.Download, central bool, stop <-chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		p := Progress{Central: central, Peers: len(downloads), Total: w.cfg.Size * int64(len(downloads))}
		for _, d := range downloads {
			p.Done += d.Progress().Done
		}
		w.cfg.Progress(p)
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// clear takes the file and all copies away, so that the next run begins as this
// one did.
func (w *world) clear(ctx context.Context, results []node.Result, path string, groups []string) error {
	var errs []error
	for i, r := range results {
		_, unshared := w.clients[i].Unshare(ctx, groups[i], r.Name)
		errs = append(errs, unshared, os.Remove(r.Path))
	}
	seen := map[string]bool{}
	for _, g := range groups {
		if !seen[g] {
			_, err := w.server.Unshare(ctx, g, filepath.Base(path))
			errs = append(errs, err)
		}
		seen[g] = true
	}
	return errors.Join(append(errs, os.Remove(path))...)
}
