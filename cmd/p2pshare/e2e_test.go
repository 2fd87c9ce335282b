package main_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
	"github.com/p2pshare/p2pshare/internal/promise"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
)

// network is a network of real processes that ends with its test.
type network struct {
	*world.World
	t        testing.TB
	ctx      context.Context
	trackers []*world.Proc
}

const password = "correct horse battery"

// newNetwork starts n trackers. The whole test has three minutes.
func newNetwork(t testing.TB, n int) *network {
	t.Helper()
	net := listedNetwork(t, n)
	// All at once: one alone would look for the others for 3 s.
	for number := range n {
		net.trackers = append(net.trackers, nil)
		net.begin(number + 1)
	}
	for _, p := range net.trackers {
		if _, err := p.Line(net.ctx); err != nil {
			t.Fatalf("%v: %s", err, p.Stderr())
		}
	}
	return net
}

// listedNetwork makes a network of n trackers and starts none.
func listedNetwork(t testing.TB, n int) *network {
	t.Helper()
	bin, err := exec.LookPath("p2pshare")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	w, err := world.New(ctx, bin, t.TempDir(), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return &network{World: w, t: t, ctx: ctx}
}

// begin starts a tracker and does not wait until it serves.
func (n *network) begin(number int) {
	n.t.Helper()
	p, err := n.Begin(n.ctx, number)
	if err != nil {
		n.t.Fatal(err)
	}
	n.trackers[number-1] = p
}

func (n *network) startTracker(number int) {
	n.t.Helper()
	p, err := n.Tracker(n.ctx, number)
	if err != nil {
		n.t.Fatal(err)
	}
	n.trackers[number-1] = p
}

// client starts a client process without logging in.
func (n *network) client(name string, flags ...string) *world.Client {
	n.t.Helper()
	c, err := n.Client(n.ctx, name, flags...)
	if err != nil {
		n.t.Fatal(err)
	}
	return c
}

// users starts a client for each name, registered and logged in. The first
// owns the group, the others are members.
func (n *network) users(group string, names ...string) []*world.Client {
	n.t.Helper()
	var clients []*world.Client
	for i, name := range names {
		c := n.client(name)
		clients = append(clients, c)
		n.do(c, fmt.Sprintf("create_user %s '%s'", name, password))
		n.do(c, fmt.Sprintf("login %s '%s'", name, password))
		if i == 0 {
			n.do(c, "create_group "+group)
			continue
		}
		n.eventually("the group is known to "+name, func() bool { return c.Do(n.ctx, "join_group "+group, nil) == nil })
		n.eventually("the request is known to the owner", func() bool {
			return clients[0].Do(n.ctx, "accept_request "+group+" "+name, nil) == nil
		})
		n.eventually(name+" knows of the membership", func() bool { return c.Do(n.ctx, "list_files "+group, nil) == nil })
	}
	return clients
}

func (n *network) do(c *world.Client, command string) {
	n.t.Helper()
	if err := c.Do(n.ctx, command, nil); err != nil {
		n.t.Fatalf("%v\n%s", err, c.Stderr())
	}
}

// quit ends a client by its own command.
func (n *network) quit(c *world.Client) {
	n.t.Helper()
	if err := errors.Join(c.Write("quit"), c.Wait(n.ctx)); err != nil {
		n.t.Fatal(err)
	}
}

// refuse runs a command that must fail with a code.
func (n *network) refuse(c *world.Client, command string, want protocol.Code) {
	n.t.Helper()
	err := c.Do(n.ctx, command, nil)
	var e *world.Error
	if !errors.As(err, &e) || e.Reply.Error.Code != string(want) {
		n.t.Errorf("%s: %s: got %v, want %s", c.Name, command, err, want)
	}
}

func (n *network) download(c *world.Client, group, name string) world.Downloaded {
	n.t.Helper()
	var d world.Downloaded
	if err := c.Do(n.ctx, fmt.Sprintf("download_file '%s' '%s'", group, name), &d); err != nil {
		n.t.Fatalf("%v\n%s", err, c.Stderr())
	}
	return d
}

// progress is the one download of a client, as show_downloads tells it.
type progress struct {
	Name, State, Reason string
	Size, Done          int64
	Peers               int
}

func (n *network) progress(c *world.Client) progress {
	n.t.Helper()
	var r struct{ Downloads []progress }
	if err := c.Do(n.ctx, "show_downloads", &r); err != nil {
		n.t.Fatal(err)
	}
	if len(r.Downloads) == 0 {
		return progress{}
	}
	return r.Downloads[len(r.Downloads)-1]
}

// eventually asks again and again until ok, for 10 s at most.
func (n *network) eventually(what string, ok func() bool) {
	n.t.Helper()
	n.within(10*time.Second, what, ok)
}

func (n *network) within(limit time.Duration, what string, ok func() bool) {
	n.t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			n.t.Fatalf("not within %v: %s", limit, what)
		}
		<-tick.C
	}
}

// file makes a file of random bytes, the same for the same seed, and returns
// its path and SHA-1.
func (n *network) file(name string, size int64, seed uint64) (path, sum string) {
	n.t.Helper()
	path = filepath.Join(n.Dir, name)
	f, err := os.Create(path)
	if err != nil {
		n.t.Fatal(err)
	}
	h := sha1.New()
	var key [32]byte
	key[0] = byte(seed)
	if _, err := io.CopyN(io.MultiWriter(f, h), rand.NewChaCha8(key), size); err != nil {
		n.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		n.t.Fatal(err)
	}
	return path, hex.EncodeToString(h.Sum(nil))
}

func (n *network) wantSHA1(path, want string) {
	n.t.Helper()
	f, err := os.Open(path)
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	h := sha1.New()
	if _, err := io.Copy(h, f); err != nil {
		n.t.Fatal(err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		n.t.Errorf("%s: sha1 %s, want %s", path, got, want)
	}
}

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
