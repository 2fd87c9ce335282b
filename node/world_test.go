package node_test

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/tracker"
)

// patience is how long a test waits for what should take well under a second.
const patience = 20 * time.Second

// world is trackers and nodes in one process, on loopback.
type world struct {
	testing.TB
	dir      string
	network  protocol.NetworkID
	entries  []roster.Entry
	trackers []*tracker.Tracker
}

func newWorld(t testing.TB, trackers int) *world {
	t.Helper()
	w := &world{TB: t, dir: t.TempDir(), network: protocol.NewNetworkID(), trackers: make([]*tracker.Tracker, trackers)}
	for i := range trackers {
		key, _, err := host.LoadKey(w.trackerDir(i+1), true)
		w.ok(err)
		id, err := peer.IDFromPrivateKey(key)
		w.ok(err)
		addr, _, err := roster.ParseAddr(freeAddr(t))
		w.ok(err)
		w.entries = append(w.entries, roster.Entry{Number: i + 1, Line: i + 1, Text: roster.Format(addr, id), Addr: addr, ID: id})
	}
	for i := range trackers {
		w.startTracker(i + 1)
	}
	for i := range trackers {
		w.awaitTracker(i + 1)
	}
	w.eventually("all trackers are connected", func() bool {
		for _, tr := range w.trackers {
			if tr.Status().Connected != trackers {
				return false
			}
		}
		return true
	})
	return w
}

// freeAddr is an address at which nobody listens just now.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (w *world) trackerDir(n int) string { return filepath.Join(w.dir, fmt.Sprint("tracker-", n)) }

func (w *world) startTracker(n int) {
	w.Helper()
	tr, err := tracker.New(tracker.Config{Trackers: w.entries, Number: n, Dir: w.trackerDir(n), NewNetwork: w.network})
	w.ok(err)
	w.trackers[n-1] = tr
	w.Cleanup(func() { _ = tr.Close() })
}

// restartTracker starts a tracker that was closed, and waits until it serves.
func (w *world) restartTracker(n int) {
	w.Helper()
	w.startTracker(n)
	w.awaitTracker(n)
}

func (w *world) awaitTracker(n int) {
	w.Helper()
	select {
	case <-w.trackers[n-1].Ready():
	case <-time.After(patience):
		w.Fatalf("tracker %d does not serve: %+v", n, w.trackers[n-1].Status())
	}
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// want ends the test unless err has the code.
func (w *world) want(err error, code protocol.Code) {
	w.Helper()
	if got := protocol.CodeOf(err); got != code {
		w.Fatalf("got %q (%v), want %q", got, err, code)
	}
}

func (w *world) folder(name string) string {
	w.Helper()
	dir := filepath.Join(w.dir, name)
	w.ok(os.MkdirAll(dir, 0o755))
	return dir
}

// file makes a file of random bytes.
func (w *world) file(name string, size int) string {
	w.Helper()
	b := make([]byte, size)
	var seed [32]byte
	copy(seed[:], name)
	_, _ = rand.NewChaCha8(seed).Read(b)
	path := w.source(name)
	w.ok(os.WriteFile(path, b, 0o644))
	return path
}

// source is where file makes the file of that name.
func (w *world) source(name string) string {
	w.Helper()
	return filepath.Join(w.folder("files"), name)
}

// group makes a group owned by the first with the others as members.
func (w *world) group(name string, owner *client, members ...*client) {
	w.Helper()
	_, err := owner.CreateGroup(w.Context(), name)
	w.ok(err)
	for _, m := range members {
		w.join(name, owner, m)
	}
}

func (w *world) join(name string, owner, m *client) {
	w.Helper()
	w.retry("the group is known", func() error {
		_, err := m.JoinGroup(w.Context(), name)
		return err
	})
	w.retry("the request is known", func() error {
		_, err := owner.AcceptRequest(w.Context(), name, m.name)
		return err
	})
}

// retry repeats what depends on news that travel between trackers.
func (w *world) retry(what string, f func() error) {
	w.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.Fatalf("never: %s: %v", what, err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func (w *world) eventually(what string, cond func() bool) {
	w.Helper()
	w.retry(what, func() error {
		if cond() {
			return nil
		}
		return fmt.Errorf("not yet")
	})
}

// same ends the test unless the result is the file at path.
func (w *world) same(res node.Result, path string) {
	w.Helper()
	want, err := os.ReadFile(path)
	w.ok(err)
	got, err := os.ReadFile(res.Path)
	w.ok(err)
	if !bytes.Equal(got, want) {
		w.Fatalf("%s differs from %s", res.Path, path)
	}
	if sum := sha1.Sum(want); res.SHA1 != protocol.SHA1(sum) {
		w.Errorf("sha1 %s, want %x", res.SHA1, sum)
	}
}

// hostOf is the host that the node of that name would make for itself.
func (w *world) hostOf(name string) libp2phost.Host {
	w.Helper()
	key, _, err := host.LoadKey(filepath.Join(w.dir, "data-"+name), true)
	w.ok(err)
	addr, err := ma.NewMultiaddr("/ip4/127.0.0.1/tcp/0")
	w.ok(err)
	h, err := host.New(host.Options{Key: key, Listen: []ma.Multiaddr{addr}})
	w.ok(err)
	w.Cleanup(func() { _ = h.Close() })
	return h
}

// records opens what a client that does not run has recorded of its user.
func (w *world) records(name string) (*records.Records, protocol.UserID) {
	w.Helper()
	r, err := records.Open(filepath.Join(w.dir, "data-"+name))
	w.ok(err)
	s, err := r.Session()
	w.ok(err)
	return r, s.User
}
