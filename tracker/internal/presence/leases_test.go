package presence_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
)

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
