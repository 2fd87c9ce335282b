package presence_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
)

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

// Deltas bring no more of one tracker than its list may; what does not fit has
// the list asked for.
func TestDeltasAreBounded(t *testing.T) {
	id := make([]byte, 16)
	table := presence.New(presence.Config{})
	table.Apply("x", &pb.PresenceList{Epoch: 1})
	var version uint64
	next := func(leases ...*pb.Lease) bool {
		version++
		return table.ApplyDelta("x", &pb.PresenceDelta{Epoch: 1, From: version - 1, To: version, Leases: leases})
	}
	for n := 0; n < protocol.MaxLeases; n += protocol.MaxElements {
		var leases []*pb.Lease
		for i := range protocol.MaxElements {
			leases = append(leases, &pb.Lease{PeerId: fmt.Sprint("p", n+i), UserId: id, SessionId: id, Version: version + 1})
		}
		if !next(leases...) {
			t.Fatalf("refused at %d leases", n)
		}
	}
	if next(&pb.Lease{PeerId: "one more", UserId: id, SessionId: id, Version: version + 1}) || table.Online() != protocol.MaxLeases {
		t.Errorf("%d leases of one tracker", table.Online())
	}
	table.Apply("x", &pb.PresenceList{Epoch: 1, Version: version})
	if n := table.Online(); n != 0 {
		t.Fatalf("%d leases behind an empty list", n)
	}
	if !next(&pb.Lease{PeerId: "one more", UserId: id, SessionId: id, Version: version + 1}) {
		t.Error("what fits again is refused")
	}
}
