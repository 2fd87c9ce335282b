package presence_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tracker is a table with what it has told.
type tracker struct {
	*presence.Table
	clock *clock

	mu      sync.Mutex
	changes []presence.Change
	deltas  []*pb.PresenceDelta
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newTracker() *tracker {
	tr := &tracker{clock: &clock{now: time.Unix(1_700_000_000, 0)}}
	tr.Table = presence.New(presence.Config{
		Now: tr.clock.read,
		OnChange: func(list []presence.Change) {
			tr.mu.Lock()
			defer tr.mu.Unlock()
			tr.changes = append(tr.changes, list...)
		},
		OnDelta: func(d *pb.PresenceDelta) {
			tr.mu.Lock()
			defer tr.mu.Unlock()
			tr.deltas = append(tr.deltas, d)
		},
	})
	return tr
}

// told returns the changes since it was asked last, as short texts in order.
func (tr *tracker) told() []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var out []string
	for _, c := range tr.changes {
		sign := "+"
		if c.Gone {
			sign = "-"
		}
		out = append(out, fmt.Sprintf("%s%d/%d %s u%d %v %v", sign, c.Group[0], c.File[0], c.Seeder.Peer, c.Seeder.User[0], c.Seeder.Complete, c.Seeder.Addrs))
	}
	tr.changes = nil
	slices.Sort(out)
	return out
}

// spread returns the deltas since it was asked last.
func (tr *tracker) spread() []*pb.PresenceDelta {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	out := tr.deltas
	tr.deltas = nil
	return out
}

// sync applies the deltas of from, under its name.
func (tr *tracker) sync(t *testing.T, name string, from *tracker) {
	t.Helper()
	for _, d := range from.spread() {
		if !tr.ApplyDelta(name, d) {
			t.Fatalf("delta %d-%d of %s does not follow", d.GetFrom(), d.GetTo(), name)
		}
	}
}

func (tr *tracker) follow(t *testing.T, name string, from *tracker) {
	t.Helper()
	from.spread()
	tr.Apply(name, from.Local())
	wantKnown(t, tr, name, from)
}

func wantKnown(t *testing.T, tr *tracker, name string, from *tracker) {
	t.Helper()
	e1, v1 := from.Version()
	if e2, v2 := tr.Known(name); e1 != e2 || v1 != v2 {
		t.Fatalf("known of %s: %d %d, want %d %d", name, e2, v2, e1, v1)
	}
}

func ref(g, f byte) presence.FileRef {
	return presence.FileRef{Group: protocol.GroupID{g}, File: protocol.FileID{f}}
}

func whole(f byte) presence.Offer { return presence.Offer{FileRef: ref(1, f), Complete: true} }

func part(f byte) presence.Offer { return presence.Offer{FileRef: ref(1, f)} }

func client(peer string, user byte, offers ...presence.Offer) presence.Lease {
	return presence.Lease{
		Peer: peer, User: protocol.UserID{user}, Session: protocol.SessionID{user},
		Addrs: []string{"/" + peer}, Offers: offers,
	}
}

func peersOf(tr *tracker, f byte) []string {
	var out []string
	for _, s := range tr.Seeders(ref(1, f), 100) {
		out = append(out, s.Peer)
	}
	slices.Sort(out)
	return out
}

func wantEqual(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}
