package replica_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
)

// counted is a table of leases that counts what was pulled into it.
type counted struct {
	*presence.Table

	mu     sync.Mutex
	lists  int // whole ones
	missed int // bytes of deltas that were asked for
}

func (c *counted) Apply(from string, list *pb.PresenceList) {
	c.mu.Lock()
	c.lists++
	c.mu.Unlock()
	c.Table.Apply(from, list)
}

func (c *counted) CatchUp(from string, epoch uint64, deltas []*pb.PresenceDelta) bool {
	c.mu.Lock()
	for _, d := range deltas {
		c.missed += proto.Size(d)
	}
	c.mu.Unlock()
	return c.Table.CatchUp(from, epoch, deltas)
}

func (c *counted) pulled() (lists, missed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lists, c.missed
}

// teller is a table of leases whose deltas can get lost on their way.
type teller struct {
	*presence.Table
	nd *node

	mu   sync.Mutex
	mute bool
}

func newTeller(nd *node) *teller {
	tl := &teller{nd: nd, mute: true}
	tl.Table = presence.New(presence.Config{OnDelta: func(d *pb.PresenceDelta) {
		tl.mu.Lock()
		defer tl.mu.Unlock()
		if !tl.mute {
			nd.SpreadPresence(d)
		}
	}})
	return tl
}

func (tl *teller) setMute(mute bool) {
	tl.mu.Lock()
	defer tl.mu.Unlock()
	tl.mute = mute
}

// open opens leases of n clients with 20 files each.
func (tl *teller) open(n int) {
	for i := range n {
		l := presence.Lease{Peer: fmt.Sprint("peer-", i), User: protocol.UserID{byte(i)}}
		for f := range byte(20) {
			l.Offers = append(l.Offers, presence.Offer{FileRef: presence.FileRef{File: protocol.FileID{f}}})
		}
		tl.Open(l)
	}
}

// begin has a client offer a file.
func (tl *teller) begin(i int, f byte) {
	tl.Announce(fmt.Sprint("peer-", i), []presence.Offer{{FileRef: presence.FileRef{File: protocol.FileID{f}}}}, nil, nil)
}

// Of many changes some get lost on their way: they are fetched, and not the list
// of all clients. The list comes where a tracker is new, or was started again.
func TestMissedPresenceIsFetched(t *testing.T) {
	const clients = 1_000
	nodes := cluster(t, 2)
	first := nodes[0].id.String()
	from, to := newTeller(nodes[0]), &counted{Table: presence.New(presence.Config{})}
	from.open(clients)
	nodes[0].config = func(c *replica.Config) { c.Presence = from }
	nodes[1].config = func(c *replica.Config) {
		c.Presence = to
		c.OnPeer = func(id peer.ID, connected bool) {
			if !connected {
				to.TrackerGone(id.String())
			}
		}
	}
	for _, nd := range nodes {
		nd.start(true, nodes...)
	}
	inStep := func() bool {
		e1, v1 := from.Version()
		e2, v2 := to.Known(first)
		return e1 == e2 && v1 == v2
	}
	awaitConnected(t, nodes...)
	await(t, "the first list", inStep)
	whole := proto.Size(from.Local())
	lists, before := to.pulled()

	// Ten changes are lost, ten are told behind them.
	for i := range 20 {
		from.setMute(i < 10)
		from.begin(i, 100)
	}
	await(t, "what was missed", func() bool {
		return inStep() && len(to.Seeders(presence.FileRef{File: protocol.FileID{100}}, clients)) == 20
	})
	again, missed := to.pulled()
	if missed -= before; again != lists || missed == 0 || missed > whole/50 {
		t.Errorf("%d bytes and %d whole lists of %d bytes for 20 changes", missed, again-lists, whole)
	}

	// The connection ends and comes back.
	cut(nodes[:1], nodes[1:])
	await(t, "the cut is noticed", func() bool { e, _ := to.Known(first); return e == 0 })
	from.setMute(true)
	from.begin(30, 100)
	heal(nodes[:1], nodes[1:])
	await(t, "what was missed meanwhile", inStep)
	if again, _ := to.pulled(); again != lists {
		t.Errorf("%d whole lists for one change while a tracker was away", again-lists)
	}

	// It is started again: nothing that was known of it holds.
	nodes[0].stop()
	from = newTeller(nodes[0])
	from.open(3)
	nodes[0].start(false, nodes...)
	await(t, "the list of its next life", func() bool { return inStep() && to.Online() == 3 })
	if again, _ := to.pulled(); again == lists {
		t.Error("no list of its next life was fetched")
	}
}
