package rogue_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/crypto"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/rogue"
	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// The fourth way in, a download from a lying tracker, is in the tests of the
// whole binary: TestEvilNamesFromALyingTracker.

func TestEvilNamesAreMany(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range rogue.EvilNames() {
		if _, err := protocol.CanonicalFile(name); !errors.Is(err, protocol.ErrName) {
			t.Errorf("%q: %v, want E_NAME", name, err)
		}
		seen[name] = true
	}
	if len(seen) < 60 {
		t.Errorf("%d names, want at least 60", len(seen))
	}
}

// TestEvilNamesAtTheUploader shares files that are called so on this disk.
func TestEvilNamesAtTheUploader(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ada := w.user("ada")
	ada.group("g")
	dir, tried := w.folder("evil"), 0
	for _, name := range rogue.EvilNames() {
		if filepath.Base(name) != name || name == "." || name == ".." || os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600) != nil {
			continue // no file of this system can be called so
		}
		tried++
		_, _, err := ada.Share(t.Context(), "g", filepath.Join(dir, name), nil)
		w.want(fmt.Sprintf("share %q", name), err, protocol.CodeName)
	}
	if tried < 40 {
		t.Errorf("%d names tried, want 40 at least", tried)
	}
	files, err := ada.Files(t.Context(), "g")
	if err != nil || len(files) > 0 {
		t.Errorf("shared: %+v, %v", files, err)
	}
}

// TestEvilNamesAtTheTracker publishes past a client.
func TestEvilNamesAtTheTracker(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"ops": "off", "calls": "off"})
	mal := w.rogue().Enter("mal")
	group := mal.Group("g")
	for _, name := range rogue.EvilNames() {
		m := rogue.ManifestOf(name, []byte("x"))
		w.want(fmt.Sprintf("put %q", name), mal.Put(group, m.ID(), m.Encode()), protocol.CodeName)
		id := m.ID()
		_, err := rogue.Do(mal, mal.At().ShareFile, &pb.ShareFileRequest{Group: &pb.GroupRef{Name: "g"}, FileId: id[:]})
		w.want(fmt.Sprintf("share %q", name), err, protocol.CodeNotFound)
		if !utf8.ValidString(name) {
			continue // no message can hold it
		}
		for what, canonical := range map[string]func(string) error{
			"user": func(s string) error {
				nonce := protocol.NewNonce()
				_, err := rogue.Do(mal, mal.At().Register, &pb.RegisterRequest{Name: s, Password: rogue.Password, Nonce: nonce[:]})
				return err
			},
			"group": func(s string) error {
				nonce := protocol.NewNonce()
				_, err := rogue.Do(mal, mal.At().CreateGroup, &pb.CreateGroupRequest{Name: s, Nonce: nonce[:]})
				return err
			},
		} {
			_, userErr := protocol.CanonicalUser(name)
			_, groupErr := protocol.CanonicalGroup(name)
			if what == "user" && userErr == nil || what == "group" && groupErr == nil {
				continue // evil as a file alone
			}
			if err := canonical(name); !errors.Is(err, protocol.ErrName) {
				t.Errorf("a %s called %q: %v, want E_NAME", what, name, err)
			} else if protocol.Printable(err.Error()) != err.Error() {
				t.Errorf("the tracker's answer holds what it refuses: %q", err)
			}
		}
	}
	if files := rogue.Must(mal, mal.At().ListFiles, listFiles("g")).GetFiles(); len(files) > 0 {
		t.Errorf("published: %v", files)
	}
}

// TestEvilNamesAtTheReplica has a tracker of the list say that such files are
// shared, and that the descriptions of others hold such names.
func TestEvilNamesAtTheReplica(t *testing.T) {
	t.Parallel()
	var other *rogue.Peer
	w := newWorldBeside(t, map[string]string{"ops": "off"}, func(key crypto.PrivKey, addr ma.Multiaddr) {
		other = rogue.Open(t, key, addr.String())
	})
	ada := w.user("ada")
	ada.group("g")
	mal := w.member(ada, "g", "mal")
	group := protocol.GroupID(rogue.Must(mal, mal.At().ListFiles, listFiles("g")).GetGroupId())

	var mu sync.Mutex
	blobs := map[protocol.FileID][]byte{}
	other.GiveBlobs(w.network, func(id protocol.FileID) []byte {
		mu.Lock()
		defer mu.Unlock()
		return blobs[id]
	})
	publish := func(m *protocol.Manifest, name, canonical string) error {
		mu.Lock()
		blobs[m.ID()] = m.Encode()
		mu.Unlock()
		return other.Store(w.trackerInfo(), w.network, other.FileFacts(group, m, name, canonical, mal.User)...)
	}
	w.ok(publish(rogue.ManifestOf("good.bin", []byte("x")), "good.bin", "good.bin"))
	for i, name := range rogue.EvilNames() {
		m := rogue.ManifestOf(name, []byte("x"))
		if utf8.ValidString(name) {
			w.want(fmt.Sprintf("the file %q", name), publish(m, name, name), protocol.CodeUsage)
		}
		// The facts are fine, but not what they stand for.
		m.Size, m.Pieces = 0, nil
		fine := fmt.Sprintf("fine-%d", i)
		w.want(fmt.Sprintf("a description of %q", name), publish(m, fine, fine), protocol.CodeName)
		id := m.ID()
		if got, err := mal.Manifest(&pb.FileRequest{GroupId: group[:], FileId: id[:]}); err == nil {
			t.Errorf("the tracker gives out the description of %q: %d bytes", name, len(got))
		}
	}
	for cursor := ""; ; {
		r := rogue.Must(mal, mal.At().ListFiles, &pb.ListFilesRequest{Group: &pb.GroupRef{Name: "g"}, Cursor: cursor})
		for _, f := range r.GetFiles() {
			if _, err := protocol.CanonicalFile(f.GetName()); err != nil {
				t.Errorf("the tracker lists %q", f.GetName())
			}
		}
		if cursor = r.GetNext(); cursor == "" {
			break
		}
	}
}

// TestEventsOfALyingTracker reads what a client tells its user of by itself.
func TestEventsOfALyingTracker(t *testing.T) {
	t.Parallel()
	liar := &rogue.Liar{Peer: rogue.New(t), Network: protocol.NewNetworkID(), Names: rogue.EvilNames()}
	liar.Serve()
	w := &world{TB: t, dir: t.TempDir()}
	var mu sync.Mutex
	kinds := map[string]int{}
	look := func(e node.Event) {
		mu.Lock()
		defer mu.Unlock()
		kinds[e.Kind]++
		for _, text := range []string{e.Kind, e.Group, e.User, e.File, e.Text} {
			if protocol.Printable(text) != text {
				t.Errorf("event %s: %q", e.Kind, text)
			}
		}
	}
	addr := liar.Info().Addrs[0].String() + "/p2p/" + liar.Info().ID.String()
	n, err := node.New(
		node.WithDataDir(w.folder("data")), node.WithDownloadDir(w.folder("downloads")), node.WithListen("127.0.0.1:0"),
		node.WithTrackers(addr), node.WithLog(look),
	)
	w.ok(err)
	t.Cleanup(func() { _ = n.Close() })
	_, err = n.Login(t.Context(), "ann", rogue.Password)
	w.ok(err)
	w.eventually("each kind of event has come", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return !slices.ContainsFunc([]string{"new_file", "join_request", "renamed", "accepted", "owner"}, func(kind string) bool {
			return kinds[kind] < 60
		})
	})
}
