package presence_test

import (
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/tracker/internal/presence"
)

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
