package node_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/internal/promise"
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
		shares, err := c.Shares()
		w.ok(err)
		if len(shares) != 1 || shares[0].State != "sharing" || shares[0].Path != res.Path {
			t.Errorf("%s shares %+v", c.name, shares)
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
		_, _, err := ada.Share(t.Context(), "g", path, nil)
		w.ok(err)
		w.same(bob.download("g", name), path)
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, eve := w.user("ada"), w.user("eve")
	w.group("g", ada)
	_, _, err := ada.Share(t.Context(), "g", w.file("f", 1000), nil)
	w.ok(err)
	nobody := w.node("nobody")
	file := w.file("other", 10)
	tests := []struct {
		name string
		do   func() error
		want protocol.Code
	}{
		{"not logged in", func() error { _, err := nobody.Groups(t.Context()); return err }, protocol.CodeSession},
		{"not logged in, local", func() error { _, err := nobody.Shares(); return err }, protocol.CodeSession},
		{"log out without login", func() error { _, err := nobody.Logout(t.Context()); return err }, protocol.CodeSession},
		{"wrong password", func() error { _, err := nobody.Login(t.Context(), "ada", "not the password"); return err }, protocol.CodeAuth},
		{"unknown user", func() error { _, err := nobody.Login(t.Context(), "zoe", "not the password"); return err }, protocol.CodeAuth},
		{"taken user name", func() error { _, err := nobody.CreateUser(t.Context(), "ADA", "password of x"); return err }, protocol.CodeExists},
		{"bad user name", func() error { _, err := nobody.CreateUser(t.Context(), "a b", "password of x"); return err }, protocol.CodeName},
		{"short password", func() error { _, err := nobody.CreateUser(t.Context(), "new", "short"); return err }, protocol.CodePassword},
		{"taken group name", func() error { _, err := eve.CreateGroup(t.Context(), "G"); return err }, protocol.CodeExists},
		{"bad group name", func() error { _, err := eve.CreateGroup(t.Context(), "../g"); return err }, protocol.CodeName},
		{"list as a stranger", func() error { _, err := eve.Files(t.Context(), "g"); return err }, protocol.CodeNotMember},
		{"share as a stranger", func() error { _, _, err := eve.Share(t.Context(), "g", file, nil); return err }, protocol.CodeNotMember},
		{"fetch as a stranger", func() error { _, err := eve.Download(t.Context(), "g", "f", ""); return err }, protocol.CodeNotMember},
		{"requests as a stranger", func() error { _, err := eve.Requests(t.Context(), "g"); return err }, protocol.CodeForbidden},
		{"no such group", func() error { _, err := ada.Members(t.Context(), "none"); return err }, protocol.CodeNotFound},
		{"no such file", func() error { _, err := ada.Download(t.Context(), "g", "none", ""); return err }, protocol.CodeNotFound},
		{"share what is not there", func() error { _, _, err := ada.Share(t.Context(), "g", file+"x", nil); return err }, protocol.CodeNotFound},
		{"share a folder", func() error { _, _, err := ada.Share(t.Context(), "g", w.dir, nil); return err }, protocol.CodeNotRegular},
		{"stop what is not shared", func() error { _, err := ada.Unshare(t.Context(), "g", "none"); return err }, protocol.CodeNotFound},
		{"the folder is used", func() error {
			_, err := node.New(node.WithDataDir(filepath.Join(w.dir, "data-ada")), node.WithTrackerEntries(w.entries...))
			return err
		}, protocol.CodeLocked},
		{"no folder", func() error { _, err := node.New(node.WithTrackerEntries(w.entries...)); return err }, protocol.CodeConfig},
		{"no tracker", func() error { _, err := node.New(node.WithDataDir(t.TempDir())); return err }, protocol.CodeConfig},
		{"upload limit too low", func() error {
			_, err := node.New(node.WithDataDir(t.TempDir()), node.WithTrackerEntries(w.entries...), node.WithUploadLimit(1000))
			return err
		}, protocol.CodeConfig},
		{"download limit below zero", func() error {
			_, err := node.New(node.WithDataDir(t.TempDir()), node.WithTrackerEntries(w.entries...), node.WithDownloadLimit(-1))
			return err
		}, protocol.CodeConfig},
		{"too little memory", func() error {
			_, err := node.New(node.WithDataDir(t.TempDir()), node.WithTrackerEntries(w.entries...), node.WithMemory(node.MinMemory-1))
			return err
		}, protocol.CodeConfig},
		{"bad address", func() error {
			_, err := node.New(node.WithDataDir(t.TempDir()), node.WithTrackerEntries(w.entries...), node.WithListen("here"))
			return err
		}, protocol.CodeConfig},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := protocol.CodeOf(test.do()); got != test.want {
				t.Errorf("got %q (%v), want %q", got, test.do(), test.want)
			}
		})
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
			_, _, err := seeder.Share(t.Context(), "g", paths[i], nil)
			w.ok(err)
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
	ada, bob := w.user("ada"), w.user("bob")
	w.group("g", ada, bob)
	path := w.file("f.bin", 700_000)
	_, _, err := ada.Share(t.Context(), "g", path, nil)
	w.ok(err)
	taken := filepath.Join(w.folder("downloads-bob"), "f.bin")
	w.ok(os.WriteFile(taken, []byte("mine"), 0o644))
	_, err = bob.Download(t.Context(), "g", "f.bin", "")
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
	ada, bob := w.user("ada"), w.user("bob")
	w.group("g", ada, bob)
	path := w.file("f.bin", 3<<20)
	_, _, err := ada.Share(t.Context(), "g", path, nil)
	w.ok(err)
	w.ok(ada.Close())
	var d *node.Download
	w.retry("the file is known", func() (err error) {
		d, err = bob.Download(t.Context(), "g", "f.bin", "")
		return err
	})
	w.eventually("it waits for a seeder", func() bool { return d.Progress().Reason == protocol.CodeNoSeeders })
	w.ok(bob.Close())
	_, err = d.Wait(t.Context())
	w.want(err, protocol.CodeSession)

	bob = w.node("bob")
	ada = w.node("ada")
	if name, err := ada.User(); err != nil || name != "ada" {
		t.Fatalf("got %q, %v", name, err)
	}
	all, err := bob.Downloads()
	w.ok(err)
	if len(all) != 1 {
		t.Fatalf("%d downloads after the restart", len(all))
	}
	w.same(bob.finish(all[0]), path)
	w.ok(bob.Close())
	bob = w.node("bob")
	all, err = bob.Downloads()
	w.ok(err)
	if p := all[0].Progress(); len(all) != 1 || p.State != node.Complete || p.Name != "f.bin" || p.Group != "g" {
		t.Errorf("after another restart: %+v", p)
	}
}

func TestFailOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	ada, bob := w.user("ada"), w.user("bob")
	w.group("g", ada, bob)
	w.ok(w.trackers[0].Close())
	for _, c := range []*client{ada, bob} {
		began := time.Now()
		groups, err := c.Groups(t.Context())
		w.ok(err)
		if len(groups) != 1 || time.Since(began) > promise.Within(5*time.Second) {
			t.Errorf("%s: %v after %v", c.name, groups, time.Since(began))
		}
	}
	_, err := ada.CreateGroup(t.Context(), "later")
	w.ok(err)
	path := w.file("f.bin", 1<<20)
	_, _, err = ada.Share(t.Context(), "g", path, nil)
	w.ok(err)
	w.same(bob.download("g", "f.bin"), path)

	w.startTracker(1)
	w.awaitTracker(1)
	w.ok(w.trackers[1].Close())
	groups, err := bob.Groups(t.Context())
	w.ok(err)
	if !slices.ContainsFunc(groups, func(g node.Group) bool { return g.Name == "later" }) {
		t.Errorf("tracker 1 lacks what happened while it was away: %v", groups)
	}
	w.ok(w.trackers[0].Close())
	_, err = bob.Groups(t.Context())
	w.want(err, protocol.CodeNoTracker)
	for _, e := range w.entries {
		if !strings.Contains(err.Error(), e.Text) {
			t.Errorf("%q does not name %s", err, e.Text)
		}
	}
	for _, info := range bob.Trackers(t.Context()) {
		if info.State != "unreachable" || info.Reason == "" {
			t.Errorf("listed as %+v", info)
		}
	}
}

func TestLogoutStopsServing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, seeding := w.stalling("ada")
	bob := w.user("bob")
	w.group("g", ada, bob)
	d := w.running(ada, bob)
	began := time.Now()
	st, err := ada.Logout(t.Context())
	w.ok(err)
	if st.On != 1 || st.Trackers != 1 {
		t.Errorf("the logout is stored on %d of %d trackers, want the one", st.On, st.Trackers)
	}
	w.eventually("the download waits", func() bool {
		p := d.Progress()
		return p.State == node.Waiting && p.Peers == 0 && p.Done < p.Total
	})
	if took := time.Since(began); took > promise.Within(5*time.Second) {
		t.Errorf("the transfer went on for %v", took)
	}
	_, err = ada.Shares()
	w.want(err, protocol.CodeSession)

	close(seeding.release)
	ada.login("ada", "password of ada")
	w.same(bob.finish(d), filepath.Join(w.folder("files"), "big.bin"))
}

func TestRemovalStopsARunningDownload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, seeding := w.stalling("ada")
	bob := w.user("bob")
	w.group("g", ada, bob)
	d := w.running(ada, bob)
	_, err := ada.RemoveMember(t.Context(), "g", "bob")
	w.ok(err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err = d.Wait(ctx)
	w.want(err, protocol.CodeRevoked)
	if p := d.Progress(); p.State != node.Failed || p.Reason != protocol.CodeRevoked {
		t.Errorf("the download is %+v", p)
	}
	_, err = bob.Files(t.Context(), "g")
	w.want(err, protocol.CodeNotMember)

	close(seeding.release)
	w.join("g", ada, bob)
	w.same(bob.download("g", "big.bin"), filepath.Join(w.folder("files"), "big.bin"))
}

func TestSharesFollowTheFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ada, bob := w.user("ada"), w.user("bob")
	w.group("g", ada, bob)
	path := w.file("f.bin", 100_000)
	first, _, err := ada.Share(t.Context(), "g", path, nil)
	w.ok(err)
	w.ok(os.WriteFile(path, []byte("something new"), 0o644))
	shares, err := ada.Shares()
	w.ok(err)
	if len(shares) != 1 || shares[0].State != "stopped" || shares[0].Reason == "" {
		t.Errorf("the changed file is listed as %+v", shares)
	}
	second, _, err := ada.Share(t.Context(), "g", path, nil)
	w.ok(err)
	if second.ID == first.ID || second.Name != first.Name {
		t.Errorf("got %+v after %+v", second, first)
	}
	w.same(bob.download("g", "f.bin"), path)
	shares, err = ada.Shares()
	w.ok(err)
	if len(shares) != 1 || shares[0].State != "sharing" {
		t.Errorf("the new content is listed as %+v", shares)
	}
	_, err = bob.Unshare(t.Context(), "g", "f.bin")
	w.ok(err)
	_, err = ada.Unshare(t.Context(), "G", "F.bin")
	w.ok(err)
	w.eventually("nobody offers it", func() bool {
		files, err := ada.Files(t.Context(), "g")
		return err == nil && !slices.ContainsFunc(files, func(f node.File) bool { return f.Seeders > 0 })
	})
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
	_, _, err = ada.Share(t.Context(), "g", w.file("f.bin", 10), nil)
	w.ok(err)
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

func TestPasswordChangeEndsOtherSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	ada := w.user("ada")
	other := w.node("ada2")
	other.login("ada", "password of ada")
	_, err := ada.ChangePassword(t.Context(), "password of ada", "another password")
	w.ok(err)
	w.eventually("the other session ends", func() bool {
		_, err := other.User()
		return protocol.CodeOf(err) == protocol.CodeSession
	})
	w.retry("this session goes on", func() error { _, err := ada.Groups(t.Context()); return err })
	_, err = other.Login(t.Context(), "ada", "password of ada")
	w.want(err, protocol.CodeAuth)
	other.login("ada", "another password")
}
