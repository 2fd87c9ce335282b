package sim

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
	p2phost "github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/tracker"
)

// people is whole trackers and nodes on a simulated network, in a bubble.
type people struct {
	t        *testing.T
	net      fabric
	dir      string
	entries  []roster.Entry
	keys     []crypto.PrivKey
	trackers []*tracker.Tracker
	clocks   []*atomic.Int64 // how far each is off, ns
	ids      []peer.ID       // of trackers and nodes
}

func newPeople(t *testing.T, trackers int) *people { return newPeopleOver(t, newPackets(), trackers) }

func newPeopleOver(t *testing.T, over fabric, trackers int) *people {
	w := &people{t: t, net: over, dir: t.TempDir(), trackers: make([]*tracker.Tracker, trackers)}
	t.Cleanup(w.net.close)
	for i := range trackers {
		key, _, err := p2phost.LoadKey(w.folder("tracker", i), true)
		w.ok(err)
		id, err := peer.IDFromPrivateKey(key)
		w.ok(err)
		addr := w.net.info(id).Addrs[0]
		w.entries = append(w.entries, roster.Entry{Number: i + 1, Line: i + 1, Text: roster.Format(addr, id), Addr: addr, ID: id})
		w.keys, w.clocks, w.ids = append(w.keys, key), append(w.clocks, new(atomic.Int64)), append(w.ids, id)
	}
	for i := range trackers {
		w.start(i)
	}
	w.eventually("all trackers serve", func() bool {
		return !slices.ContainsFunc(w.trackers, func(tr *tracker.Tracker) bool {
			s := tr.Status()
			return !s.Serving || s.Connected != trackers
		})
	})
	return w
}

func (w *people) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *people) folder(what any, i int) string {
	return filepath.Join(w.dir, fmt.Sprint(what, "-", i))
}

func (w *people) host(key crypto.PrivKey) host.Host {
	w.t.Helper()
	h, err := w.net.open(key)
	w.ok(err)
	w.t.Cleanup(func() { _ = h.Close() })
	return h
}

func (w *people) start(i int) {
	w.t.Helper()
	tr, err := tracker.New(tracker.Config{
		Trackers: w.entries, Number: i + 1, Dir: w.folder("tracker", i), NewNetwork: netID, Host: w.host(w.keys[i]),
		Now: func() time.Time { return time.Now().Add(time.Duration(w.clocks[i].Load())) },
	})
	w.ok(err)
	w.trackers[i] = tr
	w.t.Cleanup(func() { _ = tr.Close() })
}

// node opens a client that knows the trackers of some numbers, from 1; all if
// none is named.
func (w *people) node(trackers ...int) *node.Node {
	w.t.Helper()
	n := len(w.ids)
	key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(n)}, ed25519.SeedSize)))
	w.ok(err)
	id, err := peer.IDFromPrivateKey(key)
	w.ok(err)
	w.ids = append(w.ids, id)
	entries := w.entries
	if len(trackers) > 0 {
		entries = nil
		for _, k := range trackers {
			entries = append(entries, w.entries[k-1])
		}
	}
	w.ok(os.MkdirAll(w.folder("downloads", n), 0o755))
	c, err := node.New(node.WithDataDir(w.folder("node", n)), node.WithDownloadDir(w.folder("downloads", n)),
		node.WithTrackerEntries(entries...), node.WithHost(w.host(key)))
	w.ok(err)
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// user opens a client with an account of its own, logged in.
func (w *people) user(name, password string, trackers ...int) *node.Node {
	w.t.Helper()
	c := w.node(trackers...)
	w.do(c.CreateUser(w.t.Context(), name, password))
	w.do(c.Login(w.t.Context(), name, password))
	return c
}

// do is for changes that have to succeed.
func (w *people) do(_ node.Stored, err error) {
	w.t.Helper()
	w.ok(err)
}

// cut separates hosts, by their index in ids, from all others, until heal.
func (w *people) cut(some ...int) {
	for i, a := range w.ids {
		for j, b := range w.ids {
			if slices.Contains(some, i) != slices.Contains(some, j) {
				w.net.cut(a, b)
			}
		}
	}
}

func (w *people) heal() {
	for _, a := range w.ids {
		for _, b := range w.ids {
			w.net.heal(a, b)
		}
	}
}

// eventually waits until something holds and returns how long it took.
func (w *people) eventually(what string, holds func() bool) time.Duration {
	w.t.Helper()
	begun := time.Now()
	for !holds() {
		if time.Since(begun) > healTime {
			w.t.Fatalf("not within %v: %s", healTime, what)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return time.Since(begun)
}

// together waits until the trackers see each other and know as much as each other.
func (w *people) together() time.Duration {
	w.t.Helper()
	return w.eventually("all trackers know the same", func() bool {
		first := w.trackers[0].Status()
		return !slices.ContainsFunc(w.trackers, func(tr *tracker.Tracker) bool {
			s := tr.Status()
			return !s.Serving || s.Connected != len(w.trackers) || s.Users != first.Users || s.Groups != first.Groups || s.Files != first.Files
		})
	})
}

func (w *people) members(c *node.Node, group string) (names []string) {
	w.t.Helper()
	all, err := c.Members(w.t.Context(), group)
	w.ok(err)
	for _, m := range all {
		names = append(names, m.User)
	}
	return names
}

// file writes a file of random bytes.
func (w *people) file(name string, seed uint64) string {
	w.t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	path := filepath.Join(w.folder("files", int(seed)), name)
	w.ok(os.MkdirAll(filepath.Dir(path), 0o755))
	w.ok(os.WriteFile(path, b, 0o644))
	return path
}

const (
	pwLeft  = "the left password"
	pwRight = "the right password"
)

func TestNodesAcrossACut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newPeople(t, 3)
		ctx := t.Context()
		// Left of the cut: tracker 1, ada and one carl. Right: trackers 2 and 3,
		// bob, ada's other computer and the other carl.
		ada := w.user("ada", pwLeft, 1)
		bob := w.user("bob", pwRight, 2, 3)
		adaRight := w.node(2, 3)
		w.do(adaRight.Login(ctx, "ada", pwLeft))
		carl, carlRight := w.node(1), w.node(2, 3)
		w.do(ada.CreateGroup(ctx, "Films"))
		w.do(bob.JoinGroup(ctx, "Films"))
		w.do(ada.AcceptRequest(ctx, "Films", "bob"))
		_, _, err := ada.Share(ctx, "Films", w.file("one.mkv", 1), nil)
		w.ok(err)
		w.together()
		d, err := bob.Download(ctx, "Films", "one.mkv", "")
		w.ok(err)
		w.eventually("bob has ada's file", func() bool { return d.Progress().State == node.Complete })

		w.cut(0, 3, 6)
		time.Sleep(time.Minute)
		w.do(ada.RemoveMember(ctx, "Films", "bob"))
		w.do(carl.CreateUser(ctx, "carl", pwLeft))
		w.do(carl.Login(ctx, "carl", pwLeft))
		time.Sleep(time.Minute)
		w.do(carlRight.CreateUser(ctx, "carl", pwRight))
		w.do(carlRight.Login(ctx, "carl", pwRight))
		w.do(carlRight.CreateGroup(ctx, "Right"))
		w.do(bob.Logout(ctx))
		w.do(bob.Login(ctx, "bob", pwRight))
		w.do(bob.LeaveGroup(ctx, "Films"))
		w.do(bob.JoinGroup(ctx, "Films"))
		w.do(adaRight.AcceptRequest(ctx, "Films", "bob"))
		if got := w.members(adaRight, "Films"); !slices.Contains(got, "bob") {
			t.Errorf("right of the cut the members are %v, want bob among them", got)
		}
		time.Sleep(8 * time.Minute)
		w.heal()
		t.Logf("trackers know the same %v after a cut of 10 minutes", w.together())

		for _, c := range []*node.Node{ada, adaRight} {
			w.eventually("bob is out on both sides", func() bool { return !slices.Contains(w.members(c, "Films"), "bob") })
		}
		// The carl of the right came second.
		renamed := w.members(carlRight, "Right")
		if len(renamed) != 1 || !strings.HasPrefix(renamed[0], "carl~") {
			t.Fatalf("members of the group of the second carl: %v", renamed)
		}
		for k := 1; k <= 3; k++ {
			c := w.node(k)
			for _, try := range []struct {
				name, password string
				want           protocol.Code
			}{
				{"carl", pwRight, protocol.CodeAuth},
				{renamed[0], pwLeft, protocol.CodeAuth},
				{"carl", pwLeft, ""},
				{renamed[0], pwRight, ""},
			} {
				_, err := c.Login(ctx, try.name, try.password)
				if protocol.CodeOf(err) != try.want {
					t.Errorf("at tracker %d, %s with %s: %v, want %q", k, try.name, try.password, err, try.want)
				}
				if err != nil {
					continue
				}
				groups, err := c.Groups(ctx)
				w.ok(err)
				member := slices.ContainsFunc(groups, func(g node.Group) bool { return g.Name == "Right" && g.Role == "owner" })
				if member != (try.password == pwRight) {
					t.Errorf("at tracker %d, %s with %s is somebody else", k, try.name, try.password)
				}
				w.do(c.Logout(ctx))
			}
		}
	})
}

// at returns the number of the tracker that a client is connected to.
func (w *people) at(c *node.Node) int {
	for _, tr := range c.Trackers(w.t.Context()) {
		if tr.State == "connected" {
			return tr.Number
		}
	}
	return 0
}

func TestNodesLeaveAClockThatIsOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newPeople(t, 3)
		ctx := t.Context()
		ada := w.user("ada", pwLeft)
		groups := 0
		for _, off := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
			w.eventually("ada is connected", func() bool { return w.at(ada) != 0 })
			k := w.at(ada)
			w.clocks[k-1].Store(int64(off))
			took := w.eventually("ada is at another tracker", func() bool { n := w.at(ada); return n != 0 && n != k })
			t.Logf("clock %v off: its client moved over in %v", off, took)
			w.eventually("its tracker refuses, and says why", func() bool {
				s := w.trackers[k-1].Status()
				return !s.Serving && strings.Contains(s.Reason, "clock is 10m0s off")
			})
			w.at(ada) // which shows the stamp of one tracker to the others
			for range 5 {
				groups++
				s, err := ada.CreateGroup(ctx, fmt.Sprint("Group ", groups))
				if err != nil || s.On < 2 {
					t.Errorf("a change meanwhile: %+v, %v", s, err)
				}
			}
			time.Sleep(time.Minute)
			w.clocks[k-1].Store(0)
			w.together()
		}
		for i, tr := range w.trackers {
			if s := tr.Status(); s.Groups != groups || s.Users != 1 {
				t.Errorf("tracker %d has %d groups, want %d", i+1, s.Groups, groups)
			}
		}
		if w.at(ada) == 0 {
			t.Error("ada is connected to no tracker")
		}
	})
}
