package replica_test

import (
	"slices"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
)

func marked(id byte) func(*replica.Config) {
	return func(c *replica.Config) { c.NewNetwork = protocol.NetworkID{id} }
}

func (nd *node) standing(of *node) replica.Standing {
	for _, o := range nd.Others() {
		if o.ID == of.id {
			return o.Standing
		}
	}
	return -1
}

// A tracker that others do not know yet is told so, and begins no network beside
// theirs, whatever its mark.
func TestRefusedBeginsNothing(t *testing.T) {
	for _, test := range []struct {
		name string
		mark byte
	}{{"without a mark", 0}, {"marked", 2}} {
		t.Run(test.name, func(t *testing.T) {
			nodes := cluster(t, 2)
			old, young := nodes[0], nodes[1]
			old.start(true)
			old.awaitReady()
			old.mustRegister("ada")
			young.config = marked(test.mark)
			young.start(false, nodes...)
			await(t, "it is known who refuses", func() bool { return young.standing(old) == replica.Refuses })
			time.Sleep(1500 * time.Millisecond) // it looks each second whether it may begin
			if id := young.Network(); !id.IsZero() {
				t.Fatalf("a tracker that is refused is part of the network %v", id)
			}
			old.SetRoster(infos(nodes))
			young.awaitReady()
			await(t, "both are connected", func() bool {
				return young.standing(old) == replica.There && old.standing(young) == replica.There
			})
			if !young.hasUser("ada") || young.Network() != old.Network() {
				t.Errorf("network %v, want %v with its accounts", young.Network(), old.Network())
			}
		})
	}
}

// Refusing is not what a tracker does that is not there any more. It may be back in
// a moment, so nothing is begun for a while.
func TestRefusalEndsWithTheConnection(t *testing.T) {
	nodes := cluster(t, 2)
	old, young := nodes[0], nodes[1]
	old.start(true)
	young.config = marked(2)
	young.start(false, nodes...)
	await(t, "it is known who refuses", func() bool { return young.standing(old) == replica.Refuses })
	old.stop()
	await(t, "it is gone", func() bool { return young.standing(old) == replica.Away })
	time.Sleep(1500 * time.Millisecond) // it looks each second whether it may begin
	if id := young.Network(); !id.IsZero() {
		t.Errorf("as soon as a tracker that refused was gone, it began the network %v", id)
	}
}

// Two networks that were begun side by side: each of the trackers knows.
func TestForeignNetwork(t *testing.T) {
	nodes := cluster(t, 2)
	for i, nd := range nodes {
		nd.config = marked(byte(i + 1))
		nd.start(false)
		nd.awaitReady()
	}
	for _, nd := range nodes {
		nd.SetRoster(infos(nodes))
	}
	for i, nd := range nodes {
		other := nodes[1-i]
		await(t, "the other network is seen", func() bool { return nd.standing(other) == replica.Foreign })
	}
	for i, nd := range nodes {
		if nd.standing(nodes[1-i]) != replica.Foreign || slices.Contains(nd.Connected(), nodes[1-i].id) {
			t.Errorf("tracker %d: the other stands as %d, connected: %v", i+1, nd.standing(nodes[1-i]), nd.Connected())
		}
	}
	nodes[1].stop()
	await(t, "it is gone", func() bool { return nodes[0].standing(nodes[1]) == replica.Away })
}

// A blank tracker that waits for one that is blank itself says so.
func TestBlankStandings(t *testing.T) {
	nodes := cluster(t, 2)
	for _, nd := range nodes {
		nd.start(false, nodes...)
	}
	await(t, "each waits for the other", func() bool {
		return nodes[0].standing(nodes[1]) == replica.Waits && nodes[1].standing(nodes[0]) == replica.Waits
	})
}

// A tracker that is not in its own list any more is not counted where a change is
// asked for again, whatever it has.
func TestLeavingTrackerDoesNotCount(t *testing.T) {
	nodes := running(t, 2)
	u := nodes[0].mustRegister("ada")
	awaitEqual(t, nodes...)
	nodes[1].SetDropped(true)
	for range 2 {
		s, err := nodes[0].propose(func(c *catalog.Catalog) ([]catalog.Draft, error) {
			if ada, _ := c.User(u); ada.Disabled {
				return nil, nil
			}
			return catalog.SetDisabled(u, true), nil
		})
		if err != nil || s.On != 1 {
			t.Errorf("stored on %d, %v; want 1", s.On, err)
		}
		awaitEqual(t, nodes...)
	}
}
