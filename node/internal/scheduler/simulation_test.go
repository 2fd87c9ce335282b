package scheduler_test

import (
	"container/heap"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/scheduler"
)

// simulation is a group that fetches one file from one seeder and from each
// other over equal links. A member sends pieces to a few peers at once, chunk by
// chunk in turn; what arrives at another one waits for its downlink in the order
// of arrival. Messages and what is received take delay on their way.
type simulation struct {
	now     time.Duration
	delay   time.Duration
	chunk   time.Duration // of one chunk over one link
	slots   int           // pieces that a member sends at once
	members []*simulated
	agenda  agenda
	wasted  int64
	count   int // of appointments, which numbers them
}

// chunks of a piece.
const chunks = 8

// simulated is a member. Of the requests of one peer it serves the piece first
// that it has sent least often.
type simulated struct {
	id       scheduler.Peer
	sched    *scheduler.Scheduler // nil for the seeder
	sent     []int
	requests map[int][]int // waiting, by number of the asking member
	turns    []int         // those members, the next one to be served first
	sending  []*transfer
	busy     bool
	received time.Duration // until when the downlink is busy
	done     time.Duration
}

type transfer struct{ to, piece, left int }

type appointment struct {
	at  time.Duration
	seq int
	do  func()
}

type agenda []appointment

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].seq < a[j].seq
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(appointment)) }
func (a *agenda) Pop() any {
	old := *a
	x := old[len(old)-1]
	*a = old[:len(old)-1]
	return x
}

func (s *simulation) after(d time.Duration, do func()) {
	s.count++
	heap.Push(&s.agenda, appointment{at: s.now + d, seq: s.count, do: do})
}

func (s *simulation) step(i int, ev scheduler.Event) {
	m := s.members[i]
	if m.sched == nil || m.done > 0 {
		return
	}
	for _, e := range m.sched.Step(s.now, ev) {
		switch e := e.(type) {
		case scheduler.Fetch:
			from := s.number(e.Peer)
			s.after(s.delay, func() { s.asked(from, i, e.Piece) })
		case scheduler.CancelFetch:
			from := s.number(e.Peer)
			s.after(s.delay, func() { s.cancelled(from, i, e.Piece) })
		case scheduler.Reclaim:
			from := s.number(e.Peer)
			s.after(s.delay, func() { s.cancelled(from, i, e.Piece) })
		case scheduler.Verify:
			s.after(0, func() { s.verified(i, e.Piece) })
		case scheduler.Finish:
			m.done = s.now
			s.wasted += m.sched.Wasted()
		case scheduler.FindPeers, scheduler.Ban, scheduler.Fail:
			// All peers are known and honest; what hangs is seen by the test.
		}
	}
}

func (s *simulation) number(id scheduler.Peer) int {
	return slices.IndexFunc(s.members, func(m *simulated) bool { return m.id == id })
}

func (s *simulation) asked(at, by, piece int) {
	m := s.members[at]
	if !slices.Contains(m.turns, by) {
		m.turns = append(m.turns, by)
	}
	m.requests[by] = append(m.requests[by], piece)
	s.dispatch(at)
}

func (s *simulation) cancelled(at, by, piece int) {
	m := s.members[at]
	if k := slices.Index(m.requests[by], piece); k >= 0 {
		m.requests[by] = slices.Delete(m.requests[by], k, k+1)
		s.after(s.delay, func() { s.step(by, scheduler.FetchFailed{Peer: m.id, Piece: piece}) })
	}
}

// dispatch begins to send what there are slots for.
func (s *simulation) dispatch(at int) {
	m := s.members[at]
	for len(m.sending) < s.slots {
		i := slices.IndexFunc(m.turns, func(by int) bool {
			return len(m.requests[by]) > 0 && !slices.ContainsFunc(m.sending, func(t *transfer) bool { return t.to == by })
		})
		if i < 0 {
			break
		}
		by := m.turns[i]
		m.turns = append(slices.Delete(m.turns, i, i+1), by)
		waiting, least := m.requests[by], 0
		for k, piece := range waiting {
			if m.sent[piece] < m.sent[waiting[least]] {
				least = k
			}
		}
		piece := waiting[least]
		m.requests[by] = slices.Delete(waiting, least, least+1)
		m.sent[piece]++
		m.sending = append(m.sending, &transfer{to: by, piece: piece, left: chunks})
	}
	s.send(at)
}

// send sends the next chunk if the uplink is free.
func (s *simulation) send(at int) {
	m := s.members[at]
	if m.busy || len(m.sending) == 0 {
		return
	}
	t := m.sending[0]
	m.sending = append(m.sending[1:], t)
	m.busy = true
	s.after(s.chunk, func() {
		m.busy = false
		first := t.left == chunks
		t.left--
		to := s.members[t.to]
		to.received = max(to.received+s.chunk, s.now+s.delay)
		var arrived scheduler.Event
		switch {
		case t.left == 0:
			m.sending = slices.DeleteFunc(m.sending, func(other *transfer) bool { return other == t })
			arrived = scheduler.PieceReceived{Peer: m.id, Piece: t.piece, RTT: 2 * s.delay}
		case first:
			arrived = scheduler.PieceBegun{Peer: m.id, Piece: t.piece}
		}
		if arrived != nil {
			s.after(to.received-s.now, func() { s.step(t.to, arrived) })
		}
		s.dispatch(at)
	})
}

func (s *simulation) verified(i, piece int) {
	s.step(i, scheduler.PieceVerified{Piece: piece})
	for j := range s.members {
		if j != i {
			s.after(s.delay, func() { s.step(j, scheduler.PeerHas{Peer: s.members[i].id, Piece: piece}) })
		}
	}
}

// group is what is simulated.
type group struct {
	pieces, leechers, slots int
	each, delay             time.Duration // for one piece over one link; for a message
}

func (g group) simulate(seed uint64) *simulation {
	s := &simulation{delay: g.delay, chunk: g.each / chunks, slots: g.slots}
	for i := range g.leechers + 1 {
		m := &simulated{id: scheduler.Peer(fmt.Sprint(i)), sent: make([]int, g.pieces), requests: map[int][]int{}}
		if i > 0 {
			m.sched = scheduler.New(scheduler.Config{
				Size: int64(g.pieces) * length, PieceLength: length, Budget: 64 * length, Seed: seed + uint64(i),
			})
		}
		s.members = append(s.members, m)
	}
	var tick func()
	tick = func() {
		for i := range s.members {
			s.step(i, scheduler.Tick{})
		}
		if s.now < time.Hour {
			s.after(250*time.Millisecond, tick)
		}
	}
	for i := range s.members {
		for j, m := range s.members {
			if i != j {
				s.after(0, func() { s.step(i, scheduler.PeerJoined{Peer: m.id, Complete: j == 0}) })
			}
		}
	}
	s.after(0, tick)
	for s.agenda.Len() > 0 && !s.finished() {
		next := heap.Pop(&s.agenda).(appointment)
		s.now = next.at
		next.do()
	}
	return s
}

func (s *simulation) finished() bool {
	return !slices.ContainsFunc(s.members[1:], func(m *simulated) bool { return m.done == 0 })
}

// TestSwarmNearsTheOptimum: the seeder alone needs pieces x each to say
// everything once; no group can be faster. A star would need that once for
// each leecher.
func TestSwarmNearsTheOptimum(t *testing.T) {
	lecture := group{pieces: 256, slots: 4, each: 26 * time.Millisecond, delay: 5 * time.Millisecond}
	handout := group{pieces: 32, slots: 1, each: 62 * time.Millisecond, delay: 300 * time.Microsecond}
	tests := []struct {
		name     string
		group    group
		leechers int
		most     float64 // times the optimum
		copies   float64 // that the seeder sends at most
	}{
		{"many pieces", lecture, 1, 1.02, 1},
		{"many pieces", lecture, 8, 1.1, 1.1},
		{"many pieces", lecture, 16, 1.15, 1.15},
		{"few pieces", handout, 2, 1.1, 1.1},
		{"few pieces", handout, 8, 1.3, 1.25},
		{"few pieces", handout, 16, 1.6, 1.4},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s, %d leechers", tt.name, tt.leechers), func(t *testing.T) {
			g := tt.group
			g.leechers = tt.leechers
			s := g.simulate(7)
			if !s.finished() {
				t.Fatal("not finished within an hour")
			}
			ratio := float64(s.now) / float64(time.Duration(g.pieces)*g.each)
			waste := float64(s.wasted) / float64(int64(g.pieces*g.leechers)*length)
			sent := 0
			for _, n := range s.members[0].sent {
				sent += n
			}
			copies := float64(sent) / float64(g.pieces)
			t.Logf("%.2f times the optimum, %.2f copies from the seeder, %.1f %% wasted", ratio, copies, 100*waste)
			if ratio > tt.most || copies > tt.copies || waste > 0.03 {
				t.Errorf("%.2f times the optimum, want %.2f at most; %.2f copies from the seeder, want %.2f; %.1f %% wasted", ratio, tt.most, copies, tt.copies, 100*waste)
			}
		})
	}
}
