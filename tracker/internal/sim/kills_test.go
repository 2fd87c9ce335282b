package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// A tracker is killed at each point of a write, the one that answers or the one that
// confirms. What was answered is there, on as many disks as the answer said; what was
// not is there as a whole or not at all; and the same request, at any tracker, before
// the killed one is back or after, is the same account or group.
func TestKilledAtEachPointOfAWrite(t *testing.T) {
	requests := []request{account, group}
	if raceEnabled { // which makes them several times as slow, and finds the same in either
		requests = requests[:1]
	}
	for _, x := range requests {
		for _, at := range moments {
			for _, other := range []bool{false, true} {
				for _, soon := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%s/confirmer %v/repeated at once %v", x.what, at, other, soon), func(t *testing.T) {
						t.Parallel()
						bubble(t, func(t *testing.T) { playKill(t, x, at, other, soon) })
					})
				}
			}
		}
	}
}

// request is a kind of write.
type request struct {
	what string
	name string
	// send sends it, and returns the id that was answered.
	send func(c *tt.Client, name string, nonce []byte) (id []byte, s *pb.Stored, err error)
	// id is what it has to be.
	id func(c *tt.Client, name string, nonce protocol.Nonce) [16]byte
	// facts are what is written, as far as the keys go.
	facts func(c *tt.Client, name string, id [16]byte) []catalog.Draft
	// named looks up whose the name is.
	named func(c *catalog.Catalog, name string) (id [16]byte, ok bool)
}

var account = request{
	what: "account", name: "ada",
	send: func(c *tt.Client, name string, nonce []byte) ([]byte, *pb.Stored, error) {
		r, err := tt.Do(c, c.At().Register, &pb.RegisterRequest{Name: name, Password: tt.Password, Nonce: nonce})
		return r.GetUserId(), r.GetStored(), err
	},
	id: func(c *tt.Client, name string, nonce protocol.Nonce) [16]byte {
		return protocol.NewUserID(c.ID(), name, nonce)
	},
	facts: func(_ *tt.Client, name string, id [16]byte) []catalog.Draft {
		return catalog.NewAccount(id, name, phcOf(1))
	},
	named: func(c *catalog.Catalog, name string) ([16]byte, bool) {
		u, ok := c.UserNamed(name)
		return u.ID, ok
	},
}

var group = request{
	what: "group", name: "films",
	send: func(c *tt.Client, name string, nonce []byte) ([]byte, *pb.Stored, error) {
		r, err := tt.Do(c, c.At().CreateGroup, &pb.CreateGroupRequest{Name: name, Nonce: nonce})
		return r.GetGroupId(), r.GetStored(), err
	},
	id: func(c *tt.Client, name string, nonce protocol.Nonce) [16]byte {
		return protocol.NewGroupID(protocol.UserID(c.User), name, nonce)
	},
	facts: func(c *tt.Client, name string, id [16]byte) []catalog.Draft {
		return catalog.NewGroup(id, name, protocol.UserID(c.User))
	},
	named: func(c *catalog.Catalog, name string) ([16]byte, bool) {
		g, ok := c.GroupNamed(name)
		return g.ID, ok
	},
}

// write is one write, of which a client sends the request again and again.
type write struct {
	*world
	request
	trap  *trap
	phone *tt.Client
	nonce protocol.Nonce
	is    [16]byte
	keys  []catalog.Key
}

func playKill(t *testing.T, x request, at moment, other, soon bool) {
	l := newLAN()
	w := &write{world: newWorldOver(t, l, 3, 1), request: x, nonce: protocol.Nonce{1}}
	w.serves = true
	w.trap = &trap{w: w.world, writer: w.members[0], name: x.name, at: at, other: other}
	l.door = w.trap.door
	for _, m := range w.members {
		m.config = w.trap.watch(m)
	}
	w.start()
	w.awaitReady()
	w.enter()
	w.rest()

	w.trap.begin()
	on, err := w.sendTo(w.members[0])
	_ = w.trap.reach(isAnswered, nil)
	killed := w.trap.victim()
	if killed == nil {
		t.Fatal("the write did not get there")
	}
	w.checkAnswer(err, on, at == isAnswered || other)
	killed.stop()
	if soon {
		w.repeat()
	}
	if !soon && err == nil {
		killed.wipe() // what was answered as stored on two outlives that as well
	}
	w.trap.end()
	killed.start()
	w.awaitReady()
	w.rest()
	// All that was decided is there, unless it went with the only tracker that knew.
	want := len(w.keys)
	if at == isDecided && !other && !soon {
		want = 0
	}
	for i, m := range w.members {
		if n := w.countIn(m.onDisk()); n != want {
			t.Errorf("tracker %d has %d of %d facts, want %d", i, n, len(w.keys), want)
		}
	}
	w.repeat()
	w.rest()
	w.checkOne()
}

// rest waits until all are equal, on their disks too.
func (w *write) rest() {
	w.t.Helper()
	w.settle()
	time.Sleep(time.Second)
}

// enter prepares the client.
func (w *write) enter() {
	w.t.Helper()
	key, err := keyOf(1, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	h, err := w.net.open(key)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = h.Close() })
	w.phone = tt.Over(w.t, h)
	if w.what == group.what {
		w.phone.Use(w.net.info(w.members[1].id)).Enter("owner")
	}
	w.is = w.id(w.phone, w.name, w.nonce)
	for _, d := range w.facts(w.phone, w.name, w.is) {
		w.keys = append(w.keys, d.Key)
	}
}

// sendTo sends the request to a tracker; on is how many disks an answer named.
func (w *write) sendTo(m *member) (on int, err error) {
	w.t.Helper()
	w.phone.Use(w.net.info(m.id))
	id, s, err := w.send(w.phone, w.name, w.nonce[:])
	if err == nil && !slices.Equal(id, w.is[:]) {
		w.t.Errorf("answered is %x, want %x", id, w.is)
	}
	return int(s.GetStoredOn()), err
}

// checkAnswer looks whether there is one, and on the disks, as they are at this
// moment, whether it is true.
func (w *write) checkAnswer(err error, on int, want bool) {
	w.t.Helper()
	if (err == nil) != want {
		w.t.Errorf("answered with %v, want an answer: %v", err, want)
	}
	if err != nil && protocol.CodeOf(err) != protocol.CodeInternal {
		w.t.Errorf("a tracker that is dead has answered %v", err)
	}
	have := 0
	for i, m := range w.members {
		switch n := w.countIn(m.onDisk()); n {
		case 0:
		case len(w.keys):
			have++
		default:
			w.t.Errorf("tracker %d has %d of %d facts on its disk", i, n, len(w.keys))
		}
	}
	if err == nil && (on != 2 || have < on) {
		w.t.Errorf("answered as stored on %d, want 2; it is on %d disks", on, have)
	}
}

// countIn counts which of the facts a catalog has.
func (w *write) countIn(c *catalog.Catalog) (n int) {
	for _, k := range w.keys {
		if _, ok := c.Get(k); ok {
			n++
		}
	}
	return n
}

// repeat sends the request again to every tracker that runs, as a client does that
// has lost one: for as long as it is told to try again.
func (w *write) repeat() {
	w.t.Helper()
	for _, m := range w.live() {
		w.await("the request is done", 10*time.Second, func() bool {
			_, err := w.sendTo(m)
			if err != nil && protocol.CodeOf(err) != protocol.CodeBusy {
				w.t.Fatalf("the same request again: %v", err)
			}
			return err == nil
		})
	}
}

// checkOne looks for the one result, at rest.
func (w *write) checkOne() {
	w.t.Helper()
	for i, m := range w.members {
		m.view(func(c *catalog.Catalog) {
			claims := 0
			for f := range c.FactsUnder("") {
				if strings.Contains(string(f.Key), w.name) {
					claims++
				}
			}
			if id, ok := w.named(c, w.name); !ok || id != w.is || claims != 1 {
				w.t.Errorf("tracker %d: %s is %x, %v, want %x; %d claims", i, w.name, id, ok, w.is, claims)
			}
		})
		if m.onDisk().Root().Digest != m.root() {
			w.t.Errorf("tracker %d: its disk has other facts than its catalog", i)
		}
	}
	for i, m := range w.members {
		w.phone.Use(w.net.info(m.id))
		if w.what == account.what {
			if err := w.phone.Login(w.name, tt.Password); err != nil {
				w.t.Errorf("login at tracker %d: %v", i, err)
			}
			continue
		}
		list, err := tt.Do(w.phone, w.phone.At().ListGroups, &pb.ListGroupsRequest{})
		if groups := list.GetGroups(); err != nil || len(groups) != 1 || groups[0].GetRole() != "owner" {
			w.t.Errorf("groups at tracker %d: %v, %v, want the one", i, list, err)
		}
	}
}
