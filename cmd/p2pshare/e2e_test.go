package main_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
	"github.com/p2pshare/p2pshare/internal/promise"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
)

func TestEverySizeArrives(t *testing.T) {
	n := newNetwork(t, 1)
	c := n.users("sizes", "ada", "bob")
	for i, name := range []string{"empty", "one byte", "ein Stück minus 1.bin", "日本語.bin", "a piece and one.bin"} {
		size := []int64{0, 1, 524_287, 524_288, 524_289}[i]
		path, sum := n.file(name, size, uint64(i))
		n.do(c[0], fmt.Sprintf("upload_file sizes '%s'", path))
		d := n.download(c[1], "sizes", name)
		if d.Size != size || d.SHA1 != sum {
			t.Errorf("%s: got %+v, want %d bytes with sha1 %s", name, d, size, sum)
		}
		n.wantSHA1(filepath.Join(c[1].Downloads, name), sum)
	}
}

func TestManySourcesServeOn(t *testing.T) {
	n := newNetwork(t, 2)
	c := n.users("lab", "ada", "bob", "carol")
	path, sum := n.file("data.bin", 64<<20, 1)
	n.do(c[0], "upload_file lab "+path)
	n.do(c[1], "download_file lab data.bin &")
	n.do(c[2], "download_file lab data.bin &")
	for _, c := range c[1:] {
		var r struct{ Downloads []world.Downloaded }
		if err := c.Do(n.ctx, "wait", &r); err != nil {
			t.Fatal(err)
		}
		if len(r.Downloads) != 1 || r.Downloads[0].SHA1 != sum || len(r.Downloads[0].Peers) < 2 {
			t.Errorf("%s: got %+v, want sha1 %s from two peers", c.Name, r.Downloads, sum)
		}
		n.wantSHA1(filepath.Join(c.Downloads, "data.bin"), sum)
	}
}

func TestKilledDownloaderGoesOn(t *testing.T) {
	apart(t)
	n := newNetwork(t, 1)
	c := n.users("lab", "ada", "bob")
	path, sum := n.file("data.bin", 256<<20, 3)
	n.do(c[0], "upload_file lab "+path)
	n.do(c[1], "download_file lab data.bin &")
	var had progress
	n.within(time.Minute, "half of the file is there", func() bool {
		had = n.progress(c[1])
		return had.Done > had.Size*2/5 && had.Size > 0
	})
	c[1].Kill()
	if had.State == "complete" {
		t.Fatal("the download was complete before it could be killed")
	}
	again := n.client("bob")
	var r struct{ Downloads []world.Downloaded }
	if err := again.Do(n.ctx, "wait", &r); err != nil {
		t.Fatalf("%v\n%s", err, again.Stderr())
	}
	if len(r.Downloads) != 1 || r.Downloads[0].SHA1 != sum {
		t.Fatalf("got %+v, want sha1 %s", r.Downloads, sum)
	}
	fetched, missing := fetchedOf(t, r.Downloads[0], had.Size), had.Size-had.Done
	if fetched > missing+16<<20 {
		t.Errorf("fetched %d bytes after the restart, %d were missing", fetched, missing)
	}
	n.wantSHA1(r.Downloads[0].Path, sum)
}

func TestTrackerKilled(t *testing.T) {
	n := newNetwork(t, 2)
	c := n.users("lab", "ada", "bob", "carol")
	n.trackers[0].Kill()
	for _, c := range c {
		started := time.Now()
		n.do(c, "list_groups")
		if took := time.Since(started); took > promise.Within(5*time.Second) {
			t.Errorf("%s needed %v for the next command", c.Name, took)
		}
	}
	n.do(c[1], "create_group meanwhile")
	n.startTracker(1)
	started := time.Now()
	n.trackers[1].Kill()
	n.within(promise.Within(5*time.Second), "tracker 1 has what tracker 2 was told", func() bool {
		var r struct{ Groups []struct{ Name, Role string } }
		if err := c[2].Do(n.ctx, "list_groups", &r); err != nil {
			return false
		}
		for _, g := range r.Groups {
			if g.Name == "meanwhile" {
				return true
			}
		}
		return false
	})
	t.Logf("the group was there %v after the restart", time.Since(started))
	n.do(c[0], "list_members lab")
}

func TestLogoutAndRemovalStopTransfers(t *testing.T) {
	n := newNetwork(t, 1)
	c := n.users("lab", "ada", "bob", "carol")
	path, sum := n.file("data.bin", 1<<30, 4)
	n.do(c[0], "upload_file lab "+path)

	n.do(c[1], "download_file lab data.bin &")
	n.do(c[2], "download_file lab data.bin &")
	n.within(time.Minute, "both downloads run", func() bool {
		return n.progress(c[1]).Done > 0 && n.progress(c[2]).Done > 0
	})
	n.do(c[0], "remove_member lab carol")
	n.within(promise.Within(5*time.Second), "the removed member's download stops", func() bool {
		p := n.progress(c[2])
		return p.State == "failed" && p.Reason == string(protocol.CodeRevoked)
	})
	if p := n.progress(c[2]); p.Done == p.Size {
		t.Error("the removed member got the whole file")
	}

	n.do(c[0], "logout")
	var done int64
	n.within(promise.Within(5*time.Second), "nothing comes from the member that logged out", func() bool {
		p := n.progress(c[1])
		still := p.Done == done && p.State == "waiting"
		done = p.Done
		return still
	})
	if done == 1<<30 {
		t.Error("the download ended before its seeder logged out")
	}
	n.do(c[0], fmt.Sprintf("login ada '%s'", password))
	var r struct{ Downloads []world.Downloaded }
	if err := c[1].Do(n.ctx, "wait", &r); err != nil || len(r.Downloads) != 1 || r.Downloads[0].SHA1 != sum {
		t.Errorf("after the login: got %+v, %v", r.Downloads, err)
	}
}

func TestSharesComeBackAfterRestart(t *testing.T) {
	n := newNetwork(t, 1)
	c := n.users("lab", "ada", "bob")
	path, sum := n.file("data.bin", 1<<20, 5)
	n.do(c[0], "upload_file lab "+path)
	n.quit(c[0])
	n.client("ada")
	if d := n.download(c[1], "lab", "data.bin"); d.SHA1 != sum {
		t.Errorf("got %+v", d)
	}
}

// TestNothingSecretIsKept looks for the password and for the sessions in all
// that the processes wrote.
func TestNothingSecretIsKept(t *testing.T) {
	n := newNetwork(t, 1)
	c := n.users("lab", "ada", "bob")
	path, _ := n.file("data.bin", 1<<20, 6)
	n.do(c[0], "upload_file lab "+path)
	n.download(c[1], "lab", "data.bin")
	n.refuse(c[0], "login ada 'wrong horse battery'", protocol.CodeAuth)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(n.Dir, "tracker-1", "tracker.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"create_user", "login", "create_group", "join_group", "accept_request", "ada", "bob", "lab", "data.bin", "E_AUTH"} {
		if !bytes.Contains(log, []byte(want)) {
			t.Errorf("the tracker's log does not tell of %s", want)
		}
	}
	// One line for each thing that happened, and nothing of what libraries say to themselves.
	entry := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z what="`)
	for line := range bytes.Lines(log) {
		if !entry.Match(line) {
			t.Errorf("the tracker's log has the line %s", line)
		}
	}
	for _, p := range n.trackers {
		c = append(c, &world.Client{Proc: p, Name: "tracker"})
	}
	for _, c := range c {
		if what := secretIn([]byte(c.Stderr())); what != "" {
			t.Errorf("%s printed a %s", c.Name, what)
		}
	}
	kept := 0
	err = filepath.WalkDir(n.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		what := secretIn(b)
		if filepath.Base(path) == "records.db" {
			// Where a client keeps its session, and proof that one would be found.
			kept++
			if what == "" {
				t.Errorf("no session is found in %s", path)
			}
		} else if what != "" {
			t.Errorf("%s holds a %s", path, what)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if kept != 2 {
		t.Errorf("%d records of clients were found, want 2", kept)
	}
}

// secretIn tells what secret stands in b: a password of newNetwork's users, or
// a credential as it is or as text.
func secretIn(b []byte) string {
	var session credential.Session
	var ticket credential.Ticket
	switch {
	case bytes.Contains(b, []byte("horse")):
		return "password"
	case bytes.Contains(b, session.Codec()):
		return "session"
	case bytes.Contains(b, ticket.Codec()):
		return "ticket"
	case bytes.Contains(b, []byte("CiQIARIg")): // how an envelope by an Ed25519 key begins in base64
		return "credential in base64"
	default:
		return ""
	}
}
