package main_test

import (
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
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
	"github.com/p2pshare/p2pshare/protocol"
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
