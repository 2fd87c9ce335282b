package presence_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

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
func part(f byte) presence.Offer  { return presence.Offer{FileRef: ref(1, f)} }

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

func TestOffers(t *testing.T) {
	tr := newTracker()
	if tr.Announce("p", []presence.Offer{whole(1)}, nil, nil) {
		t.Fatal("announced without a lease")
	}
	tr.Open(client("p", 1, whole(1)))
	tr.Open(client("q", 2, part(1), whole(2)))
	wantEqual(t, "told", tr.told(), []string{"+1/1 p u1 true [/p]", "+1/1 q u2 false [/q]", "+1/2 q u2 true [/q]"})
	if got := tr.Seeders(ref(1, 1), 1); len(got) != 1 || got[0].Peer != "p" || !got[0].Complete {
		t.Errorf("first seeder %+v, want the complete one", got)
	}
	if n := tr.Complete(ref(1, 1)); n != 1 {
		t.Errorf("%d complete, want 1", n)
	}
	wantEqual(t, "in part", tr.OfferedIncomplete(ref(1, 1)), []string{"q"})

	if !tr.Announce("q", []presence.Offer{whole(1), part(3)}, []presence.FileRef{ref(1, 2), ref(1, 9)}, nil) {
		t.Fatal("not announced")
	}
	wantEqual(t, "told", tr.told(), []string{"+1/1 q u2 true [/q]", "+1/3 q u2 false [/q]", "-1/2 q u2 true [/q]"})
	tr.Open(client("r", 2, whole(1)))
	if n := tr.Complete(ref(1, 1)); n != 2 {
		t.Errorf("%d users complete, want 2", n)
	}
	tr.told()
	tr.spread()
	tr.Announce("q", []presence.Offer{whole(1)}, nil, []string{"/q"})
	if got := tr.told(); got != nil {
		t.Errorf("what was so already is told: %q", got)
	}
	if got := tr.spread(); got != nil {
		t.Errorf("what was so already is spread: %v", got)
	}
	tr.Announce("q", nil, nil, []string{"/new"})
	wantEqual(t, "told", tr.told(), []string{"+1/1 q u2 true [/new]", "+1/3 q u2 false [/new]"})
	if n := tr.Online(); n != 3 {
		t.Errorf("%d online, want 3", n)
	}
	if got := tr.Seeders(ref(1, 1), 0); len(got) != 0 {
		t.Errorf("%d seeders with a limit of 0", len(got))
	}
}

func TestLeaseOutlivesItsStream(t *testing.T) {
	tr := newTracker()
	first := tr.Open(client("p", 1, whole(1)))
	tr.Close("p", first)
	tr.clock.pass(presence.DefaultLife - 1)
	tr.Sweep()
	wantEqual(t, "seeders", peersOf(tr, 1), []string{"p"})

	// It comes back in time, and says again what it offers; the end of the old
	// stream is noticed twice. Nobody is told of anything.
	tr.told()
	second := tr.Open(client("p", 1))
	tr.Close("p", first)
	tr.Announce("p", []presence.Offer{whole(1)}, nil, nil)
	wantEqual(t, "told", tr.told(), nil)
	tr.clock.pass(time.Hour)
	tr.Sweep()
	wantEqual(t, "seeders", peersOf(tr, 1), []string{"p"})
	tr.told()

	tr.Close("p", second)
	tr.clock.pass(presence.DefaultLife)
	tr.Sweep()
	wantEqual(t, "told", tr.told(), []string{"-1/1 p u1 true [/p]"})
	if tr.Online() != 0 || tr.Announce("p", nil, nil, nil) {
		t.Error("online behind the end of the lease")
	}

	// Another user at the same client offers nothing of what the first one did.
	tr.Open(client("p", 1, whole(1)))
	tr.Open(client("p", 2))
	wantEqual(t, "seeders", peersOf(tr, 1), nil)
}

func TestDropWhere(t *testing.T) {
	tr, other := newTracker(), newTracker()
	tr.Open(client("p", 1, whole(1), whole(2)))
	tr.Open(client("q", 2, whole(1), part(2)))
	other.Open(client("r", 1, whole(1)))
	tr.follow(t, "other", other)
	tr.told()
	tr.spread()

	tr.DropWhere(func(l presence.Lease, o presence.Offer) bool {
		return l.User == protocol.UserID{1} && o.FileRef == ref(1, 1)
	})
	wantEqual(t, "told", tr.told(), []string{"-1/1 p u1 true [/p]", "-1/1 r u1 true [/r]"})
	wantEqual(t, "seeders", peersOf(tr, 1), []string{"q"})
	if n := tr.Online(); n != 3 {
		t.Errorf("%d online, want 3", n)
	}
	if ds := tr.spread(); len(ds) != 1 || len(ds[0].GetLeases()) != 1 || len(ds[0].GetLeases()[0].GetWithdrawn()) != 1 {
		t.Errorf("spread %v, want that one offer of the own lease has ended", ds)
	}

	tr.DropWhere(func(l presence.Lease, _ presence.Offer) bool { return l.Session == protocol.SessionID{2} })
	wantEqual(t, "told", tr.told(), []string{"-1/1 q u2 true [/q]", "-1/2 q u2 false [/q]"})
	if n := tr.Online(); n != 2 {
		t.Errorf("%d online, want 2", n)
	}
	if ds := tr.spread(); len(ds) != 1 || !ds[0].GetLeases()[0].GetGone() {
		t.Errorf("spread %v, want that the lease is gone", ds)
	}
	wantEqual(t, "in part", tr.OfferedIncomplete(ref(1, 2)), nil)
	tr.DropWhere(func(presence.Lease, presence.Offer) bool { return false })
	if got := tr.told(); got != nil {
		t.Errorf("told %q of nothing", got)
	}

	// The client logs in anew while it is being matched.
	tr.DropWhere(func(l presence.Lease, _ presence.Offer) bool {
		if l.Peer != "p" {
			return false
		}
		again := client("p", 1)
		again.Session = protocol.SessionID{9}
		tr.Open(again)
		return true
	})
	wantEqual(t, "seeders", peersOf(tr, 2), []string{"p"})
}

func TestDeltasFollowEachOther(t *testing.T) {
	a, b := newTracker(), newTracker()
	b.Open(client("p", 1, whole(1)))
	lost := b.spread()
	if a.ApplyDelta("b", lost[0]) {
		t.Fatal("a delta of an unknown tracker is taken")
	}
	a.follow(t, "b", b)
	wantEqual(t, "seeders", peersOf(a, 1), []string{"p"})
	if !a.ApplyDelta("b", lost[0]) {
		t.Error("a delta that is known already is not fine")
	}

	old := b.Local()
	b.Announce("p", []presence.Offer{part(2)}, nil, nil)
	missed := b.spread()
	b.Announce("p", []presence.Offer{part(3)}, nil, nil)
	next := b.spread()
	if a.ApplyDelta("b", next[0]) {
		t.Fatal("a delta behind a gap is taken")
	}
	wantEqual(t, "seeders", peersOf(a, 3), nil)
	if !a.ApplyDelta("b", missed[0]) || !a.ApplyDelta("b", next[0]) {
		t.Fatal("deltas in order are not taken")
	}
	a.Apply("b", old)
	wantEqual(t, "seeders behind an old list", peersOf(a, 3), []string{"p"})
	wantKnown(t, a, "b", b)

	// A restarted tracker has another epoch.
	again := newTracker()
	again.Open(client("q", 2, whole(1)))
	if a.ApplyDelta("b", again.spread()[0]) {
		t.Fatal("a delta of another epoch is taken")
	}
	a.told()
	a.follow(t, "b", again)
	wantEqual(t, "told", a.told(), []string{"+1/1 q u2 true [/q]", "-1/1 p u1 true [/p]", "-1/2 p u1 false [/p]", "-1/3 p u1 false [/p]"})
	for _, d := range []*pb.PresenceDelta{{}, {Epoch: 1, From: 3, To: 3}, {Epoch: 1, From: 3, To: 2}} {
		if a.ApplyDelta("b", d) {
			t.Errorf("delta %v is taken", d)
		}
	}
	a.Apply("c", &pb.PresenceList{})
	if e, v := a.Known("c"); e != 0 || v != 0 {
		t.Errorf("known of c: %d %d", e, v)
	}
}

// A client goes from b to c, and back to b when that has started again: its
// opening there has the number that its first one had.
func TestOpeningAtARestartedTracker(t *testing.T) {
	a, b, c := newTracker(), newTracker(), newTracker()
	b.Open(client("p", 1, whole(1)))
	a.follow(t, "b", b)
	c.Open(client("p", 1, whole(2)))
	a.follow(t, "c", c)
	again := newTracker()
	again.Open(client("p", 1, whole(3)))
	a.follow(t, "b", again)
	wantEqual(t, "seeders of what it had at c", peersOf(a, 2), nil)
	wantEqual(t, "seeders", peersOf(a, 3), []string{"p"})
}

// A client that was at tracker b goes to c, and may come back.
func TestTheLastOpeningCounts(t *testing.T) {
	a, b, c := newTracker(), newTracker(), newTracker()
	a.follow(t, "b", b)
	a.follow(t, "c", c)
	move := func(to *tracker, offers ...presence.Offer) uint64 {
		token := to.Open(client("p", 1, offers...))
		return token
	}
	atB := move(b, whole(1))
	a.sync(t, "b", b)
	move(c, whole(1), whole(2))
	a.sync(t, "c", c)
	if n := a.Online(); n != 1 {
		t.Errorf("%d online, want 1", n)
	}
	wantEqual(t, "seeders", peersOf(a, 2), []string{"p"})
	a.told()

	// What b still says of it does not count, nor does its late end.
	b.Announce("p", []presence.Offer{whole(3)}, []presence.FileRef{ref(1, 1)}, nil)
	a.sync(t, "b", b)
	wantEqual(t, "seeders", peersOf(a, 3), nil)
	b.Close("p", atB)
	b.clock.pass(presence.DefaultLife)
	b.Sweep()
	a.sync(t, "b", b)
	if got := a.told(); got != nil {
		t.Errorf("told %q of a lease that did not count", got)
	}
	wantEqual(t, "seeders", peersOf(a, 1), []string{"p"})

	// Back at b: the lease there is new again, c's is left behind.
	move(b, whole(3))
	a.sync(t, "b", b)
	wantEqual(t, "told", a.told(), []string{"+1/3 p u1 true [/p]", "-1/1 p u1 true [/p]", "-1/2 p u1 true [/p]"})

	// And once more, while both leases are there: an opening, not a change.
	move(c, whole(4))
	a.sync(t, "c", c)
	move(b, whole(5))
	a.sync(t, "b", b)
	wantEqual(t, "seeders", peersOf(a, 4), nil)
	wantEqual(t, "seeders", peersOf(a, 5), []string{"p"})

	// At this tracker itself.
	a.Open(client("p", 1, part(6)))
	wantEqual(t, "in part here", a.OfferedIncomplete(ref(1, 6)), []string{"p"})
	wantEqual(t, "in part here", a.OfferedIncomplete(ref(1, 1)), nil)
}

// A client that moves keeps what it offered, so that nobody has to be told of
// the move, until it should have announced it anew.
func TestOffersMoveWithTheClient(t *testing.T) {
	a, b := newTracker(), newTracker()
	a.follow(t, "b", b)
	b.Open(client("p", 1, whole(1), part(2), whole(3)))
	a.sync(t, "b", b)
	a.told()
	a.Open(client("p", 1))
	wantEqual(t, "told of the move", a.told(), nil)
	wantEqual(t, "in part here", a.OfferedIncomplete(ref(1, 2)), []string{"p"})
	a.Announce("p", []presence.Offer{whole(1)}, nil, nil)
	wantEqual(t, "told of what is repeated", a.told(), nil)
	a.Announce("p", []presence.Offer{whole(2)}, nil, nil)
	wantEqual(t, "told of what is new", a.told(), []string{"+1/2 p u1 true [/p]"})
	a.clock.pass(presence.DefaultLife - 1)
	a.Sweep()
	wantEqual(t, "told too early", a.told(), nil)
	a.clock.pass(1)
	a.Sweep()
	wantEqual(t, "told of what was not repeated", a.told(), []string{"-1/3 p u1 true [/p]"})
	wantEqual(t, "seeders", peersOf(a, 1), []string{"p"})
	if list := a.Local().GetLeases(); len(list) != 1 || len(list[0].GetOffers()) != 2 {
		t.Errorf("the others are told of %v", list)
	}

	// Another user at the same client takes nothing over.
	a.Open(client("p", 2))
	wantEqual(t, "seeders", peersOf(a, 1), nil)
}

func TestTrackerGone(t *testing.T) {
	a, b := newTracker(), newTracker()
	b.Open(client("p", 1, whole(1)))
	a.follow(t, "b", b)
	a.TrackerGone("stranger")

	// It is back in time: what was known must be asked for again.
	a.TrackerGone("b")
	if e, _ := a.Known("b"); e != 0 {
		t.Error("something is known of a tracker that is gone")
	}
	a.clock.pass(presence.DefaultLife - 1)
	a.follow(t, "b", b)
	a.clock.pass(time.Hour)
	a.Sweep()
	wantEqual(t, "seeders", peersOf(a, 1), []string{"p"})

	// A delta by way of others gives it some more time.
	a.TrackerGone("b")
	a.clock.pass(presence.DefaultLife - 1)
	b.Announce("p", []presence.Offer{whole(2)}, nil, nil)
	a.sync(t, "b", b)
	a.clock.pass(presence.DefaultLife - 1)
	a.Sweep()
	wantEqual(t, "seeders", peersOf(a, 2), []string{"p"})
	a.told()
	a.clock.pass(1)
	a.Sweep()
	wantEqual(t, "told", a.told(), []string{"-1/1 p u1 true [/p]", "-1/2 p u1 true [/p]"})
	if a.Online() != 0 {
		t.Error("clients of a tracker that is gone are online")
	}
}

func TestDeltasFitIntoGossip(t *testing.T) {
	a, b := newTracker(), newTracker()
	a.follow(t, "b", b)
	const clients = 300
	for i := range clients {
		var offers []presence.Offer
		for f := range byte(20) {
			offers = append(offers, presence.Offer{FileRef: ref(byte(i), f), Complete: true})
		}
		b.Open(client(fmt.Sprintf("peer-%d", i), 1, offers...))
	}
	a.sync(t, "b", b)
	// All of them change at once: 300 leases of 1 KiB.
	b.DropWhere(func(_ presence.Lease, o presence.Offer) bool { return o.File[0] > 0 })
	ds := b.spread()
	if len(ds) < 6 {
		t.Errorf("%d deltas, want several", len(ds))
	}
	for _, d := range ds {
		if n := proto.Size(&pb.Gossip{NetworkId: make([]byte, 16), Presence: d}); n > 48<<10 {
			t.Errorf("a delta takes %d bytes", n)
		}
		if !a.ApplyDelta("b", d) {
			t.Fatal("deltas do not follow each other")
		}
	}
	wantKnown(t, a, "b", b)
	if n := len(a.Seeders(ref(1, 7), 10)) + len(b.Seeders(ref(1, 7), 10)); n != 0 {
		t.Errorf("%d seeders of what was dropped", n)
	}
	if got, want := a.Online(), clients; got != want {
		t.Errorf("%d online, want %d", got, want)
	}
}

// A change of one offer costs the same whatever the client offers besides, and
// whoever offers more than one delta holds is spread all the same.
func TestDeltasHoldWhatChanged(t *testing.T) {
	a, b := newTracker(), newTracker()
	a.follow(t, "b", b)
	wide := func(i int) presence.Offer {
		o := presence.Offer{FileRef: ref(1, 0), Complete: true}
		o.File[1], o.File[2] = byte(i), byte(i>>8)
		return o
	}
	const offers = 5_000
	l := client("p", 1)
	for i := range offers {
		l.Offers = append(l.Offers, wide(i))
	}
	b.Open(l)
	for _, d := range b.spread() {
		if n := proto.Size(&pb.Gossip{NetworkId: make([]byte, 16), Presence: d}); n > 48<<10 {
			t.Errorf("a delta takes %d bytes", n)
		}
		if !a.ApplyDelta("b", d) {
			t.Fatal("deltas do not follow each other")
		}
	}
	wantKnown(t, a, "b", b)
	if n := len(a.Local().GetLeases()); n != 0 {
		t.Errorf("%d own leases", n)
	}
	count := func() (n int) {
		for i := range offers {
			n += a.Complete(wide(i).FileRef)
		}
		return n
	}
	if got := count(); got != offers {
		t.Errorf("%d offers have come, want %d", got, offers)
	}
	b.Announce("p", []presence.Offer{part(2)}, []presence.FileRef{wide(0).FileRef, wide(1).FileRef}, nil)
	ds := b.spread()
	if len(ds) != 1 || proto.Size(ds[0]) > 300 {
		t.Errorf("%d deltas of %d bytes for three offers", len(ds), proto.Size(ds[0]))
	}
	if !a.ApplyDelta("b", ds[0]) || count() != offers-2 || len(a.Seeders(ref(1, 2), 10)) != 1 {
		t.Errorf("behind the change: %d offers", count())
	}
	fresh := newTracker()
	fresh.Apply("b", b.Local())
	if got, want := fresh.Complete(wide(7).FileRef), 1; got != want {
		t.Errorf("%d have file 7 by the whole list, want %d", got, want)
	}
}

func TestMalformedLeasesAreLeftOut(t *testing.T) {
	id := make([]byte, 16)
	good := &pb.Lease{PeerId: "good", UserId: id, SessionId: id, Version: 1}
	tests := []struct {
		name  string
		lease *pb.Lease
	}{
		{"no peer", &pb.Lease{UserId: id, SessionId: id}},
		{"long peer", &pb.Lease{PeerId: strings.Repeat("p", 1000), UserId: id, SessionId: id}},
		{"short user", &pb.Lease{PeerId: "p", UserId: id[:3], SessionId: id}},
		{"no session", &pb.Lease{PeerId: "p", UserId: id}},
		{"many addresses", &pb.Lease{PeerId: "p", UserId: id, SessionId: id, Addrs: make([]string, protocol.MaxAddrs+1)}},
		{"long address", &pb.Lease{PeerId: "p", UserId: id, SessionId: id, Addrs: []string{strings.Repeat("/a", 1000)}}},
		{"offer of nothing", &pb.Lease{PeerId: "p", UserId: id, SessionId: id, Offers: []*pb.Offer{{}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tr := newTracker()
			tr.Apply("b", &pb.PresenceList{Epoch: 1, Version: 1, Leases: []*pb.Lease{test.lease, good, nil}})
			if n := tr.Online(); n != 1 {
				t.Errorf("%d online, want the good one", n)
			}
		})
	}
}

// Deltas and changes come in order, whoever uses the table at the same time,
// and callbacks may use it too.
func TestCallbacksInOrder(t *testing.T) {
	var tab *presence.Table
	var deltas []*pb.PresenceDelta // one call at a time: no lock
	online := 0
	tab = presence.New(presence.Config{
		OnDelta:  func(d *pb.PresenceDelta) { deltas = append(deltas, d) },
		OnChange: func([]presence.Change) { online = tab.Online() },
	})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			peer := fmt.Sprint(i)
			for j := range 50 {
				token := tab.Open(client(peer, 1, whole(byte(j))))
				tab.Announce(peer, []presence.Offer{part(byte(j))}, nil, nil)
				tab.Seeders(ref(1, 1), 3)
				tab.Local()
				tab.Close(peer, token)
			}
		})
	}
	wg.Wait()
	tab.DropWhere(func(presence.Lease, presence.Offer) bool { return true })
	version := uint64(0)
	for _, d := range deltas {
		if d.GetFrom() != version || d.GetTo() != version+1 {
			t.Fatalf("delta %d-%d behind version %d", d.GetFrom(), d.GetTo(), version)
		}
		version = d.GetTo()
	}
	if _, v := tab.Version(); v != version {
		t.Errorf("version %d, want %d", v, version)
	}
	if online != 0 || tab.Online() != 0 {
		t.Errorf("%d and %d online, want 0", online, tab.Online())
	}
}
