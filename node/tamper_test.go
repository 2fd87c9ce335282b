package node_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

// tamperHost is a host that flips a bit in the pieces that it sends, after so
// many bytes that are right.
type tamperHost struct {
	libp2phost.Host
	honest  atomic.Int64
	streams atomic.Int64 // opened so far
}

func (h *tamperHost) SetStreamHandler(id p2pproto.ID, f network.StreamHandler) {
	if id == protocol.PieceProtocol {
		serve := f
		f = func(s network.Stream) {
			h.streams.Add(1)
			serve(&tamperStream{Stream: s, host: h})
		}
	}
	h.Host.SetStreamHandler(id, f)
}

type tamperStream struct {
	network.Stream
	host *tamperHost
}

// Write flips the last bit of what can only be the bytes of a piece.
func (s *tamperStream) Write(b []byte) (int, error) {
	if len(b) > protocol.MaxPieceHeader && s.host.honest.Add(-int64(len(b))) < 0 {
		b = append([]byte(nil), b...)
		b[len(b)-1] ^= 1
	}
	return s.Stream.Write(b)
}

// tampering is a user whose node sends bad pieces after so many good bytes.
func (w *world) tampering(name string, honest int64) (*client, *tamperHost) {
	w.Helper()
	h := &tamperHost{Host: w.hostOf(name)}
	h.honest.Store(honest)
	return w.user(name, node.WithHost(h)), h
}

// A seeder that turns bad costs little, and the copy is right.
func TestCorruptSeeder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, bob := w.user("ada"), w.user("bob")
	mal, _ := w.tampering("mal", 4<<20)
	w.group("g", ada, bob, mal)
	path := w.file("f.bin", 24<<20)
	for _, c := range []*client{mal, ada} {
		c.share("g", path)
	}
	res := bob.download("g", "f.bin")
	w.same(res, path)
	if res.Wasted > 8<<20 {
		t.Errorf("wasted %d bytes", res.Wasted)
	}
}

// A peer that sent a bad piece is not asked again after a restart.
func TestBadPeerIsRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, bob := w.user("ada"), w.user("bob")
	mal, host := w.tampering("mal", 2<<20)
	w.group("g", ada, bob, mal)
	path := w.file("f.bin", 8<<20)
	mal.share("g", path)
	d := bob.begin("g", "f.bin")
	w.eventually("the bad peer is dropped", func() bool {
		p := d.Progress()
		return host.streams.Load() == 1 && p.Done > 0 && p.Peers == 0 && p.Reason == protocol.CodeNoSeeders
	})
	w.ok(bob.Close())
	bob = w.node("bob")
	ada.share("g", path)
	w.same(bob.finish(bob.onlyDownload()), path)
	if n := host.streams.Load(); n != 1 {
		t.Errorf("the bad peer was asked on %d streams", n)
	}
}

// A description in which the hashes of a piece contradict each other ends the
// download, names who shared the file, and blames no seeder.
func TestBadManifestNamesItsUploader(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	mal, bob := w.user("mal"), w.user("bob")
	w.group("g", mal, bob)
	path := w.file("f.bin", 3*protocol.PieceLength)
	mal.share("g", path)
	w.ok(mal.Close())
	id := w.contradict("mal")
	w.node("mal") // shares what its records say

	w.eventually("the trackers know the other description", func() bool {
		files, err := bob.Files(t.Context(), "g")
		return err == nil && len(files) == 1 && files[0].ID == id && files[0].Seeders == 1
	})
	d := bob.begin("g", "f.bin")
	said := w.fails(d, protocol.CodeBadManifest)
	for _, text := range []string{said, d.Progress().Message} {
		if !strings.Contains(text, `uploader: "mal"`) {
			t.Errorf("it does not name the uploader: %s", text)
		}
	}
	if p := d.Progress(); p.State != node.Failed || p.Reason != protocol.CodeBadManifest {
		t.Errorf("got %+v", p)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "downloads-bob", "f.bin")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is there: %v", err)
	}
	w.ok(bob.Close())
	r, user := w.records("bob")
	all, err := r.Downloads(user)
	w.ok(err)
	for _, d := range all {
		if bans, err := r.Bans(d.File); err != nil || len(bans) > 0 {
			t.Errorf("blamed: %+v, %v", bans, err)
		}
	}
	w.ok(r.Close())
}

// contradict puts a wrong SHA-1 of a piece into the description of the one file
// that a client shares which does not run, and returns its new id.
func (w *world) contradict(name string) protocol.FileID {
	w.Helper()
	r, user := w.records(name)
	shares, err := r.Shares(user)
	w.ok(err)
	share := shares[0]
	encoded, err := r.Manifest(share.File)
	w.ok(err)
	m, err := protocol.DecodeManifest(encoded)
	w.ok(err)
	m.Pieces[1].SHA1[0] ^= 1
	w.ok(r.StopShare(records.Stop{User: share.User, Group: share.Group, File: share.File}))
	share.File = m.ID()
	w.ok(r.PutManifest(share.File, m.Encode()))
	w.ok(r.PutShare(share))
	w.ok(r.Close())
	return share.File
}
