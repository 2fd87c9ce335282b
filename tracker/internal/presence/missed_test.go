package presence_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
)

// catchUp has a tracker ask another one for what it missed, and returns how many
// bytes that took, and whether it was the whole list.
func (tr *tracker) catchUp(t *testing.T, name string, from *tracker) (bytes int, whole bool) {
	t.Helper()
	from.spread()
	epoch, since := tr.Held(name)
	deltas, ok := from.Missed(epoch, since)
	if !ok {
		list := from.Local()
		tr.Apply(name, list)
		return proto.Size(list), true
	}
	if !tr.CatchUp(name, epoch, deltas) {
		t.Fatal("what was missed does not follow what is known")
	}
	return proto.Size(&pb.PresenceDeltas{Epoch: epoch, Deltas: deltas}), false
}

// crowd opens leases of n clients with 20 files each.
func (tr *tracker) crowd(n int) {
	for i := range n {
		l := client(fmt.Sprintf("peer-%d", i), byte(i))
		for f := range byte(20) {
			l.Offers = append(l.Offers, whole(f))
		}
		tr.Open(l)
	}
}

func wantSameList(t *testing.T, tr *tracker, name string, from *tracker) {
	t.Helper()
	wantKnown(t, tr, name, from)
	if got, want := tr.Online(), from.Online(); got != want {
		t.Errorf("%d online, want %d", got, want)
	}
	for f := range byte(60) {
		wantEqual(t, fmt.Sprint("seeders of ", f), peersOf(tr, f), peersOf(from, f))
	}
}

// One delta among many is lost: what it told is fetched, with what came behind it,
// and no more.
func TestALostDeltaCostsWhatItTold(t *testing.T) {
	a, b := newTracker(), newTracker()
	b.crowd(100)
	a.follow(t, "b", b)
	for i := range 30 {
		b.Announce(fmt.Sprintf("peer-%d", i), []presence.Offer{part(30)}, nil, nil)
	}
	taken := 0
	for i, d := range b.spread() {
		if i == 20 {
			continue
		}
		if a.ApplyDelta("b", d) {
			taken++
		}
	}
	if taken != 20 {
		t.Fatalf("%d deltas were taken, want those ahead of the gap", taken)
	}
	bytes, all := a.catchUp(t, "b", b)
	if list := proto.Size(b.Local()); all || bytes > list/50 {
		t.Errorf("%d bytes for 10 changes, where the list has %d; the whole list: %v", bytes, list, all)
	}
	wantSameList(t, a, "b", b)
	if bytes, all := a.catchUp(t, "b", b); all || bytes > 20 {
		t.Errorf("%d bytes where nothing was missed; the whole list: %v", bytes, all)
	}
}

// What is kept for others is bounded: behind more than that they need the list.
func TestGapOlderThanTheLog(t *testing.T) {
	const clients, files, kept = 90, 500, 2 << 20
	a, b := newTracker(), newTracker()
	b.crowd(clients)
	a.follow(t, "b", b)
	epoch, _ := b.Version()
	for i := range clients {
		var more []presence.Offer
		for f := range files {
			o := part(100)
			o.File[1], o.File[2] = byte(f), byte(f>>8)
			more = append(more, o)
		}
		b.Announce(fmt.Sprintf("peer-%d", i), more, nil, nil)
	}
	sum, deltas := 0, b.spread()
	for _, d := range deltas {
		sum += proto.Size(d)
	}
	var missed []*pb.PresenceDelta
	for i, ok := 0, false; !ok && i < len(deltas); i++ {
		missed, ok = b.Missed(epoch, deltas[i].GetFrom())
	}
	covered := proto.Size(&pb.PresenceDeltas{Deltas: missed})
	if sum <= kept || covered > kept || covered < kept/2 {
		t.Errorf("of %d bytes of deltas %d are kept, want at most %d", sum, covered, kept)
	}
	if _, all := a.catchUp(t, "b", b); !all {
		t.Error("a gap that is not kept was filled")
	}
	wantSameList(t, a, "b", b)
}

// Many changes of few clients: their list is the shorter answer.
func TestTheListWhereItIsShorter(t *testing.T) {
	a, b := newTracker(), newTracker()
	b.Open(client("p", 1, whole(1)))
	a.follow(t, "b", b)
	for range 10 {
		b.Announce("p", []presence.Offer{part(2)}, nil, nil)
		b.Announce("p", nil, []presence.FileRef{ref(1, 2)}, nil)
	}
	if _, all := a.catchUp(t, "b", b); !all {
		t.Error("20 changes are sent where the list has one lease")
	}
	wantSameList(t, a, "b", b)
}

// A tracker that was started again counts from the beginning: what was known of it
// before is no version of its present leases.
func TestCatchUpWithARestartedTracker(t *testing.T) {
	a, b := newTracker(), newTracker()
	b.crowd(10)
	a.follow(t, "b", b)
	again := newTracker()
	again.crowd(10)
	again.Announce("peer-3", []presence.Offer{part(40)}, nil, nil)
	if _, all := a.catchUp(t, "b", again); !all {
		t.Error("deltas of one life of a tracker follow those of another")
	}
	wantSameList(t, a, "b", again)

	// It starts between the question and the answer.
	epoch, since := a.Held("b")
	third := newTracker()
	third.crowd(12)
	if _, ok := third.Missed(epoch, since); ok {
		t.Error("a version of another life is known")
	}
	e3, _ := third.Version()
	if _, ok := third.Missed(e3, 1_000); ok {
		t.Error("a version is known that never was")
	}
	if a.CatchUp("b", e3, nil) || a.CatchUp("c", e3, nil) || a.CatchUp("c", 0, nil) {
		t.Error("an answer that was not asked for is taken")
	}
	wantSameList(t, a, "b", again)
}

// A tracker that was away for a moment, and back before its leases ended, is asked
// for what changed meanwhile alone.
func TestCatchUpWithATrackerThatWasAway(t *testing.T) {
	a, b := newTracker(), newTracker()
	b.crowd(50)
	a.follow(t, "b", b)
	a.TrackerGone("b")
	a.clock.pass(presence.DefaultLife - 1)
	b.Announce("peer-7", []presence.Offer{part(40)}, nil, nil)
	if bytes, all := a.catchUp(t, "b", b); all || bytes > 300 {
		t.Errorf("%d bytes for one change; the whole list: %v", bytes, all)
	}
	a.clock.pass(time.Hour)
	a.Sweep()
	wantSameList(t, a, "b", b)

	// Away for longer, nothing is left to build on.
	a.TrackerGone("b")
	a.clock.pass(presence.DefaultLife)
	a.Sweep()
	if a.Online() != 0 {
		t.Errorf("%d online of a tracker that is gone", a.Online())
	}
	if _, all := a.catchUp(t, "b", b); !all {
		t.Error("deltas follow what has ended")
	}
	wantSameList(t, a, "b", b)
}

// An answer with a gap in it makes the whole list wanted, once.
func TestAnswerWithAGap(t *testing.T) {
	a, b := newTracker(), newTracker()
	b.crowd(10)
	a.follow(t, "b", b)
	epoch, since := a.Held("b")
	for range 3 {
		b.Announce("peer-1", nil, nil, []string{fmt.Sprint("/", b.Online())})
		b.Announce("peer-1", nil, nil, []string{"/"})
	}
	deltas, ok := b.Missed(epoch, since)
	if !ok || len(deltas) != 6 {
		t.Fatalf("%d deltas, %v", len(deltas), ok)
	}
	if a.CatchUp("b", epoch, []*pb.PresenceDelta{deltas[0], deltas[2]}) {
		t.Error("deltas with a gap are taken")
	}
	if _, all := a.catchUp(t, "b", b); !all {
		t.Error("the whole list is not wanted")
	}
	wantSameList(t, a, "b", b)
	if _, all := a.catchUp(t, "b", b); all {
		t.Error("the whole list is wanted again")
	}
}
