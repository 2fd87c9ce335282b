package main_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/world"
	"github.com/p2pshare/p2pshare/protocol"
)

// killUploader kills a client at so many moments of its uploads, each of another
// file. A file that is listed can be fetched whole once its uploader is back, or
// has repeated the command; one that is not, after that.
func killUploader(t *testing.T, n *network, times int) {
	t.Helper()
	c := n.users("lab", "ada", "bob")
	ada, bob := c[0], c[1]
	path, _ := n.file("data", 32<<20, 4)
	upload := func(name string) string {
		link := filepath.Join(n.Dir, name)
		if err := os.Link(path, link); err != nil {
			t.Fatal(err)
		}
		return "upload_file lab " + link
	}
	began := time.Now()
	n.do(ada, upload("whole.bin"))
	whole := time.Since(began)
	seed := rand.Uint64()
	t.Logf("seed %d; undisturbed an upload takes %v", seed, whole.Round(time.Millisecond))
	rng := rand.New(rand.NewPCG(seed, 0))
	shared, listed := 0, 0
	for i := range times {
		name := fmt.Sprintf("f%d.bin", i)
		command := upload(name)
		if err := ada.Write(command); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(rng.Int64N(int64(whole * 5 / 4)))) // the moment is what is tried
		ada.Kill()
		ada = n.client("ada")
		known, here := n.lists(bob, "list_files lab", name), n.lists(ada, "list_shares", name)
		if known {
			listed++
		}
		if here {
			shared++
			// What this client remembers as its share it offers by itself.
			n.eventually("the share is offered again", func() bool { return n.offering(bob, name) == 1 })
		} else {
			n.patiently(ada, command)
		}
		n.patiently(ada, command) // once more: harmless
		if got := n.offering(bob, name); got != 1 {
			t.Errorf("kill %d: %d members offer %s, want 1", i, got, name)
		}
		if i%10 == 0 || known && !here {
			var d world.Downloaded
			n.do2(bob, "download_file lab "+name, &d)
			n.do(bob, "stop_share lab "+name)
			n.sameContent(d.Path, path)
		}
		n.do(ada, "stop_share lab "+name)
		if t.Failed() {
			return
		}
	}
	t.Logf("of %d kills %d left a file that trackers list, %d one that is shared", times, listed, shared)
}

// patiently repeats a command while trackers have heard too many.
func (n *network) patiently(c *world.Client, command string) {
	n.t.Helper()
	n.within(time.Minute, "trackers take one command more", func() bool {
		err := c.Do(n.ctx, command, nil)
		var e *world.Error
		if errors.As(err, &e) && e.Reply.Error.Code == string(protocol.CodeRate) {
			return false
		}
		if err != nil {
			n.t.Fatal(err)
		}
		return true
	})
}

// lists reports whether the answer to a command has a file of that name.
func (n *network) lists(c *world.Client, command, name string) bool {
	n.t.Helper()
	var r struct{ Files, Shares []struct{ Name string } }
	n.do2(c, command, &r)
	for _, f := range append(r.Files, r.Shares...) {
		if f.Name == name {
			return true
		}
	}
	return false
}

// offering counts the members who are online with a whole file of lab.
func (n *network) offering(c *world.Client, name string) int {
	n.t.Helper()
	var r struct {
		Files []struct {
			Name    string
			Seeders int
		}
	}
	n.do2(c, "list_files lab", &r)
	for _, f := range r.Files {
		if f.Name == name {
			return f.Seeders
		}
	}
	return 0
}

func (n *network) sameContent(path, want string) {
	n.t.Helper()
	a, err1 := os.ReadFile(path)
	b, err2 := os.ReadFile(want)
	if err1 != nil || err2 != nil || string(a) != string(b) {
		n.t.Errorf("%s is not %s (%v, %v)", path, want, err1, err2)
	}
}

func TestKilledUploader(t *testing.T) {
	apart(t)
	killUploader(t, newNetwork(t, 1), 6)
}

func TestLongKilledUploader(t *testing.T) {
	long(t)
	n := newNetwork(t, 1)
	n.ctx = t.Context()
	killUploader(t, n, 200)
}
