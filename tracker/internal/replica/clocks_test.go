package replica_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

func TestFutureFactsWait(t *testing.T) {
	nodes := cluster(t, 2)
	var ahead clockOffset
	ahead.set(6 * time.Minute)
	nodes[0].config = func(c *replica.Config) { c.Now = ahead.now }
	var behind clockOffset
	nodes[1].config = func(c *replica.Config) { c.Now = behind.now }
	nodes[0].start(true)
	nodes[0].awaitReady()
	nodes[0].mustRegister("ada")
	nodes[1].start(false, nodes...)
	nodes[0].SetRoster(infos(nodes))
	nodes[1].awaitReady()
	if nodes[1].facts() != 0 {
		t.Errorf("%d facts from the future were taken in", nodes[1].facts())
	}
	// At exactly half of the trackers, the side ahead takes writes.
	await(t, "clocks compared", func() bool { return codeOf(nodes[1].Serving()) == protocol.CodeBusy })
	if err := nodes[0].Serving(); err != nil {
		t.Errorf("the tracker ahead: %v", err)
	}
	if s, err := nodes[0].register("bob", userID("bob")); err != nil || s.On != 1 {
		t.Errorf("Stored = %+v, %v: what waits elsewhere does not count as stored", s, err)
	}
	behind.set(2 * time.Minute)
	awaitEqual(t, nodes...)
	if !nodes[1].hasUser("ada") || !nodes[1].hasUser("bob") {
		t.Error("facts were not taken in when their time came")
	}
	behind.set(6 * time.Minute)
	await(t, "clocks agree", func() bool { return nodes[1].Serving() == nil })
}

func TestMinorityClockTakesNoWrites(t *testing.T) {
	nodes := cluster(t, 3)
	var off clockOffset
	off.set(-2 * time.Minute)
	nodes[2].config = func(c *replica.Config) { c.Now = off.now }
	for _, nd := range nodes {
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	await(t, "clocks compared", func() bool { return codeOf(nodes[2].Serving()) == protocol.CodeBusy })
	if _, err := nodes[2].register("ada", userID("ada")); codeOf(err) != protocol.CodeBusy {
		t.Errorf("a tracker whose clock is off takes a write: %v", err)
	}
	nodes[0].mustRegister("bob")
}

// loads is a store that counts how often all of it is read.
type loads struct {
	store.Store
	n atomic.Int64
}

func (s *loads) Records(f func(store.Record) error) error {
	s.n.Add(1)
	return s.Store.Records(f)
}

// A clock that goes back and forth has nobody read the whole store again, as long
// as nothing ended meanwhile.
func TestSwingingClockIsCheap(t *testing.T) {
	nodes := cluster(t, 2)
	var off clockOffset
	disks := make([]*loads, len(nodes))
	for i, nd := range nodes {
		disks[i] = &loads{Store: nd.store}
		nd.store = disks[i]
		if i == 1 {
			nd.config = func(c *replica.Config) { c.Now = off.now }
		}
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	nodes[0].mustRegister("ada")
	for _, d := range []time.Duration{-3 * time.Minute, 0} {
		off.set(d)
		time.Sleep(400 * time.Millisecond) // some rounds
	}
	for i, d := range disks {
		if n := d.n.Load(); n != 1 {
			t.Errorf("tracker %d has read its store %d times, want once", i, n)
		}
	}
}
