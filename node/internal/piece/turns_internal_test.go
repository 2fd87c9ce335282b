package piece

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"

	"github.com/p2pshare/p2pshare/protocol"
)

// stub is a stream that only remembers.
type stub struct {
	woken  int
	killed error
}

func (s *stub) wake()          { s.woken++ }
func (s *stub) kill(err error) { s.killed = err }

// take plays the writer: it returns the granted piece, -1 without one.
func take(tr *turns, q *queue) int {
	_, piece, _ := tr.work(q)
	return piece
}

func TestTurnsGoRoundByPeer(t *testing.T) {
	tr := newTurns(1, 0)
	blocker := tr.join("blocker", protocol.FileID{9}, &stub{})
	tr.request(blocker, 0)
	take(tr, blocker)
	names := []string{"a1", "a2", "b"}
	streams := map[string]*queue{
		"a1": tr.join("a", protocol.FileID{1}, &stub{}),
		"a2": tr.join("a", protocol.FileID{2}, &stub{}),
		"b":  tr.join("b", protocol.FileID{1}, &stub{}),
	}
	for i := range 3 {
		for k, name := range names {
			tr.request(streams[name], 3*k+i) // each asks for pieces of its own
		}
	}
	var order []string
	last := blocker
	for range 9 {
		tr.done(last)
		for _, name := range names {
			if take(tr, streams[name]) >= 0 {
				order = append(order, name)
				last = streams[name]
			}
		}
	}
	want := []string{"a1", "b", "a2", "b", "a1", "b", "a2", "a1", "a2"}
	if !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
}

func TestTurnsSpreadPieces(t *testing.T) {
	tr := newTurns(1, 0)
	blocker := tr.join("blocker", protocol.FileID{9}, &stub{})
	tr.request(blocker, 0)
	take(tr, blocker)
	const peers, pieces = 4, 4
	var queues []*queue
	for i := range peers {
		q := tr.join(peer.ID(fmt.Sprint(i)), protocol.FileID{1}, &stub{})
		for p := range pieces {
			tr.request(q, p)
		}
		queues = append(queues, q)
	}
	tr.done(blocker)
	seen := map[int]int{}
	for range peers {
		for _, q := range queues {
			if piece := take(tr, q); piece >= 0 {
				seen[piece]++
				tr.done(q)
				break
			}
		}
	}
	if len(seen) != pieces {
		t.Errorf("the first %d pieces sent were %v, want each once", peers, seen)
	}
}

func TestTurnsKeepSlotsForNewcomers(t *testing.T) {
	tr := newTurns(16, 0) // 2 of them for newcomers
	ask := func(id string, file byte) bool {
		q := tr.join(peer.ID(id), protocol.FileID{file}, &stub{})
		tr.request(q, 0)
		return q.granted >= 0
	}
	for i := range 14 {
		if !ask(fmt.Sprint("early ", i), 1) {
			t.Fatalf("peer %d has no slot", i)
		}
	}
	if ask("early 0", 2) {
		t.Error("a peer that has a slot got one of those for newcomers")
	}
	for _, id := range []string{"late 0", "late 1"} {
		if !ask(id, 1) {
			t.Errorf("%s has no slot", id)
		}
	}
	if ask("late 2", 1) {
		t.Error("more slots than there are")
	}
}

func TestParkedReadersAreBounded(t *testing.T) {
	tr := newTurns(2, 0)
	var stubs []*stub
	var excess []*queue
	now := time.Unix(0, 0)
	for i := range 2*parkedPerSlot + 3 {
		st := &stub{}
		q := tr.join(peer.ID(fmt.Sprint(i)), protocol.FileID{1}, st)
		tr.request(q, 0)
		if take(tr, q) < 0 {
			t.Fatalf("stream %d has no slot although all others are parked", i)
		}
		if q := tr.park(q, now.Add(time.Duration(i))); q != nil {
			excess = append(excess, q)
		}
		stubs = append(stubs, st)
	}
	if len(excess) != 3 || excess[0].own != stubs[0] || excess[2].own != stubs[2] {
		t.Errorf("%d streams are too many, want the first 3", len(excess))
	}
	for _, p := range slices.Clone(tr.ring) {
		tr.leave(p.queues[0])
	}
	if tr.free != 2 || len(tr.parked) != 0 || len(tr.ring) != 0 || len(tr.sent) != 0 {
		t.Errorf("after all left: %d free, %d parked, %d peers, %d files", tr.free, len(tr.parked), len(tr.ring), len(tr.sent))
	}
}

// Whatever streams do, slots are neither lost nor made, every request gets one
// answer, and nobody waits while a slot that he may have is free and the
// beginning does not keep it.
func TestTurnsInvariants(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		slots := rapid.IntRange(1, 20).Draw(rt, "slots")
		tr := newTurns(slots, rapid.IntRange(0, 3).Draw(rt, "gentle"))
		var streams []*queue
		asked, answered := map[*queue]int{}, map[*queue]int{}
		pick := func() *queue {
			if len(streams) == 0 {
				return nil
			}
			return streams[rapid.IntRange(0, len(streams)-1).Draw(rt, "stream")]
		}
		for range rapid.IntRange(1, 200).Draw(rt, "steps") {
			q := pick()
			switch op := rapid.IntRange(0, 7).Draw(rt, "op"); {
			case op == 0 || q == nil:
				id := peer.ID(rapid.StringMatching("[a-e]").Draw(rt, "peer"))
				streams = append(streams, tr.join(id, protocol.FileID{byte(op)}, &stub{}))
			case op == 1:
				tr.leave(q)
				streams = remove(streams, q)
			case op <= 3:
				if tr.request(q, rapid.IntRange(0, 5).Draw(rt, "piece")) {
					asked[q]++
				}
			case op == 4:
				tr.cancel(q, rapid.IntRange(0, 5).Draw(rt, "piece"))
			case op == 5:
				if q.sending {
					tr.done(q)
				}
				drops, piece, _ := tr.work(q)
				answered[q] += len(drops)
				if piece >= 0 {
					answered[q]++
				}
			case op == 6:
				tr.widen(rapid.IntRange(0, 2).Draw(rt, "extra"), rapid.Bool().Draw(rt, "over"))
			default:
				tr.park(q, time.Unix(0, 0))
			}
			checkTurns(rt, tr, slots, streams, asked, answered)
		}
	})
}

func checkTurns(rt *rapid.T, tr *turns, slots int, streams []*queue, asked, answered map[*queue]int) {
	held := 0
	for _, q := range streams {
		if q.holding {
			held++
		}
		pending := len(q.waiting) + len(q.drops)
		if q.granted >= 0 {
			pending++
		}
		if asked[q] != answered[q]+pending {
			rt.Fatalf("%d requests, %d answers, %d pending", asked[q], answered[q], pending)
		}
		ready := len(q.waiting) > 0 && q.granted < 0 && !q.sending
		if ready && !tr.narrow() && (tr.free > tr.reserve || tr.free > 0 && !q.peer.served) {
			rt.Fatalf("a stream waits while %d of %d slots are free", tr.free, slots)
		}
	}
	if held+tr.free != slots {
		rt.Fatalf("%d held and %d free of %d slots", held, tr.free, slots)
	}
	if len(tr.parked) > tr.limit {
		rt.Fatalf("%d parked, %d allowed", len(tr.parked), tr.limit)
	}
}

// TestTurnsBeginNarrow: one piece after another at first, and a slot more for
// every few that went out; a reader that blocks its slot ends that.
func TestTurnsBeginNarrow(t *testing.T) {
	const slots, gentle = 4, 3
	tr := newTurns(slots, gentle)
	var queues []*queue
	join := func() {
		for i := range 2 * slots {
			q := tr.join(peer.ID(fmt.Sprint(i)), protocol.FileID{1}, &stub{})
			queues = append(queues, q)
			for p := range 8 {
				tr.request(q, 8*i+p)
			}
		}
	}
	inUse := func() (n int) {
		for _, q := range queues {
			if q.holding {
				n++
			}
		}
		return n
	}
	finish := func() {
		for _, q := range queues {
			if take(tr, q) >= 0 {
				tr.done(q)
				return
			}
		}
	}
	join()
	for grants := 1; grants <= slots*gentle; grants = tr.grants {
		if got, want := inUse(), min(1+(grants-1)/gentle, slots); got != want {
			t.Fatalf("%d slots in use after %d grants, want %d", got, grants, want)
		}
		finish()
	}
	for _, q := range queues {
		tr.leave(q)
	}
	queues = nil
	join()
	if got := inUse(); got != 1 {
		t.Errorf("%d slots in use when readers come anew, want 1", got)
	}
	for _, q := range queues {
		if q.holding {
			take(tr, q)
			tr.park(q, time.Unix(1, 0))
			break
		}
	}
	if got := inUse(); got != slots {
		t.Errorf("%d slots in use beside a blocked reader, want all %d", got, slots)
	}
}

// TestTurnsPassOverWhatWentOut: who asks for a piece that another one has just
// got waits while others ask for new ones, but not for ever.
func TestTurnsPassOverWhatWentOut(t *testing.T) {
	tr := newTurns(1, 0)
	file := protocol.FileID{1}
	first, second := tr.join("first", file, &stub{}), tr.join("second", file, &stub{})
	tr.request(first, 0)
	take(tr, first)
	tr.request(second, 1)
	tr.done(first)
	take(tr, second) // both have had something
	tr.request(second, 0)
	for p := 2; p < 2+2*recent; p++ {
		tr.request(first, p)
	}
	tr.done(second)
	passed := 0
	for take(tr, second) < 0 {
		if take(tr, first) < 0 {
			t.Fatal("nobody is served")
		}
		passed++
		if passed > recent {
			t.Fatalf("passed over for more than %d grants", recent)
		}
		tr.done(first)
	}
	if passed == 0 {
		t.Error("a piece went out twice while a new one was asked for")
	}
	// Without anything new to send it goes out at once.
	tr.request(second, 2)
	tr.leave(first)
	tr.done(second)
	if take(tr, second) != 2 {
		t.Error("nothing is sent although somebody asks")
	}
}
