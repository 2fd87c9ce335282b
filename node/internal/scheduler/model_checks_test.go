package scheduler_test

import (
	"slices"

	"github.com/p2pshare/p2pshare/node/internal/scheduler"
)

func (m *model) carryOut(e scheduler.Effect) {
	if m.ended != nil {
		m.t.Fatalf("after %v came %v", m.ended, e)
	}
	switch e := e.(type) {
	case scheduler.Fetch:
		m.fetch(e)
	case scheduler.CancelFetch:
		p := m.peer(e.Peer)
		if p == nil {
			m.t.Fatalf("%v to a peer that is not connected", e)
		}
		if cancelled, ok := p.asked[e.Piece]; !ok || cancelled {
			m.t.Fatalf("%v of nothing that was asked for", e)
		}
		p.asked[e.Piece] = true
	case scheduler.Reclaim:
		p := m.peer(e.Peer)
		if p == nil {
			m.t.Fatalf("%v from a peer that is not connected", e)
		}
		if cancelled, ok := p.asked[e.Piece]; !ok || cancelled || p.reclaimed[e.Piece] || p.begun[e.Piece] {
			m.t.Fatalf("%v, of nothing that waits there", e)
		}
		p.reclaimed[e.Piece] = true
	case scheduler.Verify:
		if _, ok := m.author[e.Piece]; ok || m.done[e.Piece] {
			m.t.Fatalf("%v for the second time", e)
		}
		m.author[e.Piece] = e.Peer
		m.inFlight += m.bytes(e.Piece)
	case scheduler.Ban:
		m.drop(e.Peer)
		m.banned[e.Peer] = max(m.banned[e.Peer], m.now+e.For)
	case scheduler.FindPeers:
		m.finds++
	case scheduler.Finish:
		if slices.Contains(m.done, false) {
			m.t.Fatalf("finished without all pieces")
		}
		m.ended = e
	case scheduler.Fail:
		m.ended = e
	}
}

// fetch checks everything that is promised about a request.
func (m *model) fetch(e scheduler.Fetch) {
	p := m.peer(e.Peer)
	switch _, verifying := m.author[e.Piece]; {
	case p == nil:
		m.t.Fatalf("%v of a peer that is gone or banned", e)
	case m.banned[e.Peer] > m.now:
		m.t.Fatalf("%v of a banned peer", e)
	case m.done[e.Piece] || verifying:
		m.t.Fatalf("%v of a piece that is there", e)
	case !p.has[e.Piece]:
		m.t.Fatalf("%v of a peer that lacks it", e)
	case m.paused:
		m.t.Fatalf("%v while paused", e)
	case p.hold > m.now:
		m.t.Fatalf("%v of a peer whose queue is full", e)
	}
	if _, ok := p.asked[e.Piece]; ok {
		m.t.Fatalf("%v before the last such request is answered", e)
	}
	if live := m.live(e.Piece); live > 0 && !m.endgame() || live > 1 {
		m.t.Fatalf("%v although %d peers are asked, endgame %v", e, live, m.endgame())
	} else if live == 0 {
		m.checkRarest(e, p)
	}
	if len(p.asked) > 0 {
		m.checkTurn(e)
	}
	p.asked[e.Piece] = false
	if window := m.sched.Window(e.Peer); len(p.asked) > window {
		m.t.Fatalf("%v makes %d requests in a window of %d", e, len(p.asked), window)
	}
	unproven := int64(len(p.asked)) * length
	for _, author := range m.author {
		if author == e.Peer {
			unproven += length
		}
	}
	if unproven > 7<<20 {
		m.t.Fatalf("%v makes %d bytes of one peer that are not verified", e, unproven)
	}
	if m.inFlight > 0 && m.inFlight+m.bytes(e.Piece) > m.budget {
		m.t.Fatalf("%v makes %d bytes in flight of %d", e, m.inFlight+m.bytes(e.Piece), m.budget)
	}
	m.inFlight += m.bytes(e.Piece)
}

// checkRarest: no other piece that could be asked of the peer is rarer, unless
// the request moved here from another peer.
func (m *model) checkRarest(e scheduler.Fetch, p *member) {
	for _, q := range m.peers {
		if q.asked[e.Piece] {
			return
		}
	}
	for i := range m.done {
		if _, owed := p.asked[i]; p.has[i] && !owed && m.wanted(i) && m.avail(i) < m.avail(e.Piece) {
			m.t.Fatalf("%v had by %d peers, although %d is had by %d", e, m.avail(e.Piece), i, m.avail(i))
		}
	}
}

// checkTurn: nobody gets a second request while a peer without any could be asked.
func (m *model) checkTurn(e scheduler.Fetch) {
	for _, q := range m.peers {
		if len(q.asked) > 0 || q.hold > m.now || m.sched.IsFull(q.id) {
			continue
		}
		for i, has := range q.has {
			if has && m.wanted(i) && i != e.Piece {
				m.t.Fatalf("%v although %s could be asked for %d and has nothing", e, q.id, i)
			}
		}
	}
}

// check looks at the state between steps.
func (m *model) check() {
	if m.ended != nil {
		return
	}
	if got := m.sched.InFlight(); got != m.inFlight {
		m.t.Fatalf("in flight: got %d, want %d", got, m.inFlight)
	}
	if got := m.sched.Wasted(); got != m.wasted {
		m.t.Fatalf("wasted: got %d, want %d", got, m.wasted)
	}
	if m.paused {
		for _, p := range m.peers {
			for piece, cancelled := range p.asked {
				if !cancelled {
					m.t.Fatalf("paused, but %s is asked for %d", p.id, piece)
				}
			}
		}
		return
	}
	if len(m.author) > 0 {
		return
	}
	usable := false
	for _, p := range m.peers {
		if len(p.asked) > 0 {
			return
		}
		for i, has := range p.has {
			usable = usable || has && !m.done[i] && p.hold <= m.now
		}
	}
	if usable {
		m.t.Fatalf("stall: a peer has what is missing, and nothing is asked for")
	}
}

// asked lists all unanswered requests in a fixed order.
func (m *model) asked() []scheduler.Fetch {
	var all []scheduler.Fetch
	for _, p := range m.peers {
		for i := range m.done {
			if _, ok := p.asked[i]; ok {
				all = append(all, scheduler.Fetch{Peer: p.id, Piece: i})
			}
		}
	}
	return all
}

func (m *model) verifying() []int {
	var all []int
	for i := range m.done {
		if _, ok := m.author[i]; ok {
			all = append(all, i)
		}
	}
	return all
}
