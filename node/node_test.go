package node_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestShareAndDownloadByTwoAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	ada, bob, cyd := w.user("ada"), w.user("bob"), w.user("cyd")
	w.group("Compilers", ada, bob, cyd)
	path := w.file("lecture 07 – größe.mp4", 9<<20+17)

	shared, stored, err := ada.Share(t.Context(), "compilers", path, nil)
	w.ok(err)
	if shared.Pieces != 73 || shared.Path != path || stored.On != 2 || stored.Already {
		t.Errorf("got %+v, %+v", shared, stored)
	}
	again, stored, err := ada.Share(t.Context(), "Compilers", path, func(int64, int64) { t.Error("hashed once more") })
	w.ok(err)
	if again != shared || !stored.Already {
		t.Errorf("sharing again: %+v, %+v", again, stored)
	}

	var handles []*node.Download
	for _, c := range []*client{bob, cyd} {
		w.retry("the file is known", func() error {
			d, err := c.Download(t.Context(), "compilers", filepath.Base(path), "")
			if err == nil {
				handles = append(handles, d)
			}
			return err
		})
	}
	var last node.Progress
	for p := range handles[0].Updates() {
		if p.Done < last.Done {
			t.Errorf("progress fell from %d to %d", last.Done, p.Done)
		}
		last = p
	}
	if last.State != node.Complete || last.Done != last.Total || last.Name != filepath.Base(path) {
		t.Errorf("the last update is %+v", last)
	}
	for i, c := range []*client{bob, cyd} {
		res := c.finish(handles[i])
		w.same(res, path)
		pieces := 0
		for _, p := range res.Peers {
			pieces += p.Pieces
		}
		if pieces != 73 || res.ID != shared.ID {
			t.Errorf("%s: %+v", c.name, res)
		}
		_, err := c.Download(t.Context(), "compilers", filepath.Base(path), "")
		w.want(err, protocol.CodeExists)
		if !strings.Contains(err.Error(), res.Path) {
			t.Errorf("%q does not name %s", err, res.Path)
		}
		if s := c.onlyShare(); s.State != "sharing" || s.Path != res.Path {
			t.Errorf("%s shares %+v", c.name, s)
		}
	}
	w.eventually("three seeders are listed", func() bool {
		files, err := ada.Files(t.Context(), "Compilers")
		return err == nil && len(files) == 1 && files[0].Seeders == 3 && files[0].Uploader == "ada" && files[0].SHA1 == shared.SHA1
	})
}

func TestFilesOfEverySize(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, bob := w.user("ada"), w.user("bob")
	w.group("g", ada, bob)
	for _, size := range []int{0, 1, 524_287, 524_288, 524_289} {
		name := "size " + string(rune('a'+size%26)) + ".bin"
		path := w.file(name, size)
		ada.share("g", path)
		w.same(bob.download("g", name), path)
	}
}

// TestLittleMemory: with room for two pieces in all, two downloads at once from two
// members come to their ends, though each piece waits for one before it.
func TestLittleMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, eve, bob := w.user("ada"), w.user("eve"), w.user("bob", node.WithMemory(node.MinMemory))
	w.group("g", ada, eve, bob)
	paths := []string{w.file("one.bin", 5_000_000), w.file("two.bin", 6_000_000)}
	var running []*node.Download
	for i, name := range []string{"one.bin", "two.bin"} {
		for _, seeder := range []*client{ada, eve} {
			seeder.share("g", paths[i])
		}
		d, err := bob.Download(t.Context(), "g", name, "")
		w.ok(err)
		running = append(running, d)
	}
	for i, d := range running {
		w.same(bob.finish(d), paths[i])
	}
}

func TestTargetIsNeverReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	_, bob, path := w.seeded(700_000)
	taken := filepath.Join(w.folder("downloads-bob"), "f.bin")
	w.ok(os.WriteFile(taken, []byte("mine"), 0o644))
	_, err := bob.Download(t.Context(), "g", "f.bin", "")
	w.want(err, protocol.CodeTargetExists)
	d, err := bob.Download(t.Context(), "g", "f.bin", filepath.Join(w.folder("downloads-bob"), "other.bin"))
	w.ok(err)
	w.same(bob.finish(d), path)
	if b, _ := os.ReadFile(taken); string(b) != "mine" {
		t.Error("the file that was there is gone")
	}
}

func TestRestartGoesOnWithoutLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	ada, bob, path := w.seeded(3 << 20)
	w.ok(ada.Close())
	d := bob.begin("g", "f.bin")
	w.eventually("it waits for a seeder", func() bool { return d.Progress().Reason == protocol.CodeNoSeeders })
	w.ok(bob.Close())
	w.fails(d, protocol.CodeSession)

	bob = w.node("bob")
	ada = w.node("ada")
	if name, err := ada.User(); err != nil || name != "ada" {
		t.Fatalf("got %q, %v", name, err)
	}
	w.same(bob.finish(bob.onlyDownload()), path)
	w.ok(bob.Close())
	bob = w.node("bob")
	if p := bob.onlyDownload().Progress(); p.State != node.Complete || p.Name != "f.bin" || p.Group != "g" {
		t.Errorf("after another restart: %+v", p)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	ada, bob := w.user("ada"), w.user("bob")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch := func(c *client) func(kind string) node.Event {
		seq := c.Watch(ctx)
		events := make(chan node.Event, 100)
		go func() {
			for e := range seq {
				events <- e
			}
		}()
		return func(kind string) node.Event {
			t.Helper()
			deadline := time.After(patience)
			for {
				select {
				case e := <-events:
					if e.Kind == kind {
						return e
					}
				case <-deadline:
					t.Fatalf("%s never heard %s", c.name, kind)
				}
			}
		}
	}
	adaHears, bobHears := watch(ada), watch(bob)
	_, err := ada.CreateGroup(t.Context(), "g")
	w.ok(err)
	w.retry("the group is known", func() error { _, err := bob.JoinGroup(t.Context(), "g"); return err })
	if e := adaHears("join_request"); e.User != "bob" || e.Group != "g" || e.Text == "" {
		t.Errorf("got %+v", e)
	}
	_, err = ada.AcceptRequest(t.Context(), "g", "bob")
	w.ok(err)
	bobHears("accepted")
	ada.share("g", w.file("f.bin", 10))
	if e := bobHears("new_file"); e.File != "f.bin" || e.User != "ada" {
		t.Errorf("got %+v", e)
	}
	bob.download("g", "f.bin")
	bobHears("download")
	_, err = ada.TransferGroup(t.Context(), "g", "bob")
	w.ok(err)
	bobHears("owner")
	w.retry("bob owns it", func() error { _, err := bob.RemoveMember(t.Context(), "g", "ada"); return err })
	adaHears("share_withdrawn")
	adaHears("removed")
}
