package scheduler_test

import (
	"container/heap"
	"fmt"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/scheduler"
)

// simulation is a group that fetches one file from one seeder and from each
// other. Every member sends one piece at a time, to its peers in turn, and of
// the requests of one peer the piece that it has sent least often first.
// Receiving costs nothing, messages take delay.
type simulation struct {
	now     time.Duration
	delay   time.Duration
	sending time.Duration // of one piece over one uplink
	members []*simulated
	agenda  agenda
	wasted  int64
	count   int // of appointments, which numbers them
}

type simulated struct {
	id    scheduler.Peer
	sched *scheduler.Scheduler // nil for the seeder
	have  []bool
	sent  []int
	queue map[int][]int // by number of the asking member
	turn  int
	busy  bool
	done  time.Duration
}

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
	if m.done > 0 {
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
	for i, m := range s.members {
		if m.id == id {
			return i
		}
	}
	return -1
}

func (s *simulation) asked(at, by, piece int) {
	m := s.members[at]
	m.queue[by] = append(m.queue[by], piece)
	s.send(at)
}

func (s *simulation) cancelled(at, by, piece int) {
	m := s.members[at]
	for k, p := range m.queue[by] {
		if p == piece {
			m.queue[by] = append(m.queue[by][:k], m.queue[by][k+1:]...)
			s.after(s.delay, func() { s.step(by, scheduler.FetchFailed{Peer: m.id, Piece: piece}) })
			return
		}
	}
}

// send begins to send the next piece if the uplink is free.
func (s *simulation) send(at int) {
	m := s.members[at]
	if m.busy {
		return
	}
	for range s.members {
		m.turn = (m.turn + 1) % len(s.members)
		queue := m.queue[m.turn]
		if len(queue) == 0 {
			continue
		}
		least := 0
		for k, p := range queue {
			if m.sent[p] < m.sent[queue[least]] {
				least = k
			}
		}
		to, piece := m.turn, queue[least]
		m.queue[to] = append(queue[:least], queue[least+1:]...)
		m.busy = true
		m.sent[piece]++
		s.after(s.sending, func() {
			m.busy = false
			s.after(s.delay, func() {
				s.step(to, scheduler.PieceReceived{Peer: m.id, Piece: piece, RTT: 2 * s.delay})
			})
			s.send(at)
		})
		return
	}
}

func (s *simulation) verified(i, piece int) {
	s.members[i].have[piece] = true
	s.step(i, scheduler.PieceVerified{Piece: piece})
	for j, m := range s.members {
		if j != i && m.sched != nil {
			s.after(s.delay, func() { s.step(j, scheduler.PeerHas{Peer: s.members[i].id, Piece: piece}) })
		}
	}
}

func simulate(pieces, leechers int, seed uint64) *simulation {
	s := &simulation{delay: 5 * time.Millisecond, sending: 50 * time.Millisecond}
	for i := range leechers + 1 {
		m := &simulated{
			id: scheduler.Peer(fmt.Sprint(i)), have: make([]bool, pieces), sent: make([]int, pieces), queue: map[int][]int{},
		}
		if i > 0 {
			m.sched = scheduler.New(scheduler.Config{
				Size: int64(pieces) * length, PieceLength: length, Budget: 64 * length, Seed: seed + uint64(i),
			})
		}
		s.members = append(s.members, m)
	}
	var tick func()
	tick = func() {
		for i, m := range s.members {
			if m.sched != nil {
				s.step(i, scheduler.Tick{})
			}
		}
		if s.now < time.Hour {
			s.after(250*time.Millisecond, tick)
		}
	}
	for i := range s.members {
		for j, m := range s.members {
			if i != j && i > 0 {
				s.after(0, func() { s.step(i, scheduler.PeerJoined{Peer: m.id, Complete: j == 0}) })
			}
		}
	}
	s.after(0, tick)
	for s.agenda.Len() > 0 {
		next := heap.Pop(&s.agenda).(appointment)
		s.now = next.at
		next.do()
		if s.finished() {
			break
		}
	}
	return s
}

func (s *simulation) finished() bool {
	for _, m := range s.members[1:] {
		if m.done == 0 {
			return false
		}
	}
	return true
}

// TestSwarmNearsTheOptimum: the seeder alone needs pieces x sending to say
// everything once; no group can be faster. A star would need that once for
// each leecher.
func TestSwarmNearsTheOptimum(t *testing.T) {
	tests := []struct {
		pieces, leechers int
		most             float64 // times the optimum
	}{
		{pieces: 200, leechers: 1, most: 1.05},
		{pieces: 200, leechers: 4, most: 1.15},
		{pieces: 200, leechers: 16, most: 1.3},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.leechers), func(t *testing.T) {
			s := simulate(tt.pieces, tt.leechers, 7)
			if !s.finished() {
				t.Fatal("not finished within an hour")
			}
			ratio := float64(s.now) / float64(time.Duration(tt.pieces)*s.sending)
			waste := float64(s.wasted) / float64(int64(tt.pieces*tt.leechers)*length)
			t.Logf("%.2f times the optimum, %.1f %% wasted", ratio, 100*waste)
			if ratio > tt.most || waste > 0.03 {
				t.Errorf("%.2f times the optimum, %.1f %% wasted", ratio, 100*waste)
			}
		})
	}
}
