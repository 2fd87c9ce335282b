package rogue_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/rogue"
	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/tracker"
)

// patience is how long a test waits for what should take well under a second.
const patience = 30 * time.Second

// world is a tracker and honest nodes in this process, on loopback.
type world struct {
	testing.TB
	dir     string
	network protocol.NetworkID
	key     crypto.PrivKey // of the tracker
	entry   roster.Entry
	roster  string // path of the list, for processes
	tracker *tracker.Tracker
}

func newWorld(t testing.TB, limits map[string]string) *world {
	t.Helper()
	return newWorldBeside(t, limits, nil)
}

// newWorldBeside is newWorld with a second tracker in the list, of which
// beside gets the key and where it should listen.
func newWorldBeside(t testing.TB, limits map[string]string, beside func(crypto.PrivKey, ma.Multiaddr)) *world {
	t.Helper()
	w := &world{TB: t, dir: t.TempDir(), network: protocol.NewNetworkID()}
	w.entry, w.key = w.list(1, "")
	entries := []roster.Entry{w.entry}
	if beside != nil {
		e, key := w.list(2, "")
		entries = append(entries, e)
		beside(key, e.Addr)
	}
	var err error
	w.tracker, err = tracker.New(tracker.Config{
		Trackers: entries, Number: 1, Dir: w.folder("tracker-1"), NewNetwork: w.network, Limits: limits,
	})
	w.ok(err)
	t.Cleanup(func() { _ = w.tracker.Close() })
	select {
	case <-w.tracker.Ready():
	case <-time.After(patience):
		t.Fatalf("the tracker does not serve: %+v", w.tracker.Status())
	}
	return w
}

// list makes the key of a tracker and its entry. Without an address it is a free
// one of loopback.
func (w *world) list(n int, address string) (roster.Entry, crypto.PrivKey) {
	w.Helper()
	key, _, err := host.LoadKey(w.folder(fmt.Sprint("tracker-", n)), true)
	w.ok(err)
	id, err := peer.IDFromPrivateKey(key)
	w.ok(err)
	if address == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		w.ok(err)
		defer l.Close()
		address = l.Addr().String()
	}
	addr, _, err := roster.ParseAddr(address)
	w.ok(err)
	return roster.Entry{Number: n, Line: n, Text: roster.Format(addr, id), Addr: addr, ID: id}, key
}

func (w *world) folder(name string) string {
	w.Helper()
	dir := filepath.Join(w.dir, name)
	w.ok(os.MkdirAll(dir, 0o700))
	return dir
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) want(what string, err error, codes ...protocol.Code) {
	w.Helper()
	for _, c := range codes {
		if protocol.CodeOf(err) == c {
			return
		}
	}
	w.Errorf("%s: got %q (%v), want one of %q", what, protocol.CodeOf(err), err, codes)
}

// trackerInfo is where the tracker is.
func (w *world) trackerInfo() peer.AddrInfo {
	return peer.AddrInfo{ID: w.entry.ID, Addrs: w.entry.Addrs()}
}

// rogue is a rogue that knows the tracker.
func (w *world) rogue() *rogue.Peer { return rogue.New(w).Use(w.trackerInfo()) }

// honest is a node whose user has an account and is logged in.
type honest struct {
	*node.Node
	w    *world
	name string
}

func (w *world) node(name string, opts ...node.Option) *honest {
	w.Helper()
	base := []node.Option{
		node.WithDataDir(w.folder("data-" + name)), node.WithDownloadDir(w.folder("downloads-" + name)),
		node.WithListen("127.0.0.1:0"), node.WithTrackerEntries(w.entry),
	}
	n, err := node.New(append(base, opts...)...)
	w.ok(err)
	w.Cleanup(func() { _ = n.Close() })
	return &honest{Node: n, w: w, name: name}
}

func (w *world) user(name string, opts ...node.Option) *honest {
	w.Helper()
	h := w.node(name, opts...)
	_, err := h.CreateUser(w.Context(), name, rogue.Password)
	w.ok(err)
	_, err = h.Login(w.Context(), name, rogue.Password)
	w.ok(err)
	return h
}

// group makes a group of the owner's.
func (h *honest) group(name string) {
	h.w.Helper()
	_, err := h.CreateGroup(h.w.Context(), name)
	h.w.ok(err)
}

// letIn accepts somebody who has asked, or asks as an honest node now.
func (h *honest) letIn(group, user string, m *honest) {
	h.w.Helper()
	if m != nil {
		_, err := m.JoinGroup(h.w.Context(), group)
		h.w.ok(err)
	}
	_, err := h.AcceptRequest(h.w.Context(), group, user)
	h.w.ok(err)
}

// member is a rogue with an account that the owner has let into the group.
func (w *world) member(owner *honest, group, user string) *rogue.Peer {
	w.Helper()
	p := w.rogue().Enter(user)
	p.Join(group)
	owner.letIn(group, user, nil)
	return p
}

// file makes a file of random bytes and its manifest.
func (w *world) file(name string, size int) (path string, m *protocol.Manifest, data []byte) {
	w.Helper()
	data = make([]byte, size)
	var seed [32]byte
	copy(seed[:], name)
	_, _ = rand.NewChaCha8(seed).Read(data)
	path = filepath.Join(w.folder("files"), name)
	w.ok(os.WriteFile(path, data, 0o600))
	return path, rogue.ManifestOf(name, data), data
}

func (h *honest) share(group, path string) {
	h.w.Helper()
	_, _, err := h.Share(h.w.Context(), group, path, nil)
	h.w.ok(err)
}

// begin starts a download.
func (h *honest) begin(group, name string) *node.Download {
	h.w.Helper()
	d, err := h.Download(h.w.Context(), group, name, "")
	h.w.ok(err)
	return d
}

// finish waits for the end of a download, which must be data.
func (h *honest) finish(d *node.Download, data []byte) node.Result {
	h.w.Helper()
	ctx, cancel := context.WithTimeout(h.w.Context(), 4*patience)
	defer cancel()
	res, err := d.Wait(ctx)
	if err != nil {
		h.w.Fatalf("%s: %v; %+v", h.name, err, d.Progress())
	}
	got, err := os.ReadFile(res.Path)
	h.w.ok(err)
	if !bytes.Equal(got, data) {
		h.w.Fatalf("%s differs from the original", res.Path)
	}
	return res
}

// where returns where a node listens, as the tracker tells a member.
func (w *world) where(member *rogue.Peer, group protocol.GroupID, file protocol.FileID) peer.AddrInfo {
	w.Helper()
	var info peer.AddrInfo
	w.eventually("the seeder is known", func() bool {
		r := rogue.Must(member, member.At().ListSeeders, &pb.FileRequest{GroupId: group[:], FileId: file[:]})
		if len(r.GetSeeders()) != 1 {
			return false
		}
		id, err := peer.Decode(r.GetSeeders()[0].GetPeerId())
		w.ok(err)
		info = peer.AddrInfo{ID: id}
		for _, text := range r.GetSeeders()[0].GetAddrs() {
			info.Addrs = append(info.Addrs, ma.StringCast(text))
		}
		return len(info.Addrs) > 0
	})
	return info
}

func (w *world) eventually(what string, cond func() bool) {
	w.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-limit.C:
			w.Fatalf("never: %s", what)
		}
	}
}
