package scheduler_test

import (
	"reflect"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/p2pshare/p2pshare/node/internal/scheduler"
	"github.com/p2pshare/p2pshare/protocol"
)

const length = protocol.PieceLength

// fatalist is the part of testing.T and rapid.T that the model needs.
type fatalist interface {
	Fatalf(format string, args ...any)
}

// model knows, from events and effects alone, what a scheduler may do, and
// checks the invariants after every step.
type model struct {
	t        fatalist
	sched    *scheduler.Scheduler
	twin     *scheduler.Scheduler // sees the same events
	now      time.Duration
	size     int64
	done     []bool
	author   map[int]scheduler.Peer
	peers    []*member
	banned   map[scheduler.Peer]time.Duration
	budget   int64
	inFlight int64
	wasted   int64
	paused   bool
	ended    scheduler.Effect
	finds    int
}

// member is a connected peer.
type member struct {
	id    scheduler.Peer
	has   []bool
	asked map[int]bool // piece -> cancelled
	// begun and reclaimed are of the pieces asked for.
	begun, reclaimed map[int]bool
	hold             time.Duration
	// denied pieces are not asked for before that time.
	denied []denial
}

type denial struct {
	piece int
	until time.Duration
}

func newModel(t fatalist, cfg scheduler.Config) *model {
	n := int((cfg.Size + cfg.PieceLength - 1) / cfg.PieceLength)
	m := &model{
		t: t, size: cfg.Size,
		sched: scheduler.New(cfg), twin: scheduler.New(cfg),
		done:   make([]bool, n),
		author: map[int]scheduler.Peer{},
		banned: map[scheduler.Peer]time.Duration{},
		budget: cfg.Budget,
	}
	for i := range m.done {
		m.done[i] = cfg.Complete || i/8 < len(cfg.Have) && cfg.Have[i/8]&(0x80>>(i%8)) != 0
	}
	return m
}

func (m *model) bytes(piece int) int64 { return min(length, m.size-int64(piece)*length) }

func (m *model) peer(id scheduler.Peer) *member {
	for _, p := range m.peers {
		if p.id == id {
			return p
		}
	}
	return nil
}

func (m *model) drop(id scheduler.Peer) {
	if p := m.peer(id); p != nil {
		for piece := range p.asked {
			m.inFlight -= m.bytes(piece)
		}
		m.peers = slices.DeleteFunc(m.peers, func(q *member) bool { return q == p })
	}
}

// live counts the requests for a piece that were not taken back.
func (m *model) live(piece int) int {
	n := 0
	for _, p := range m.peers {
		if cancelled, ok := p.asked[piece]; ok && !cancelled {
			n++
		}
	}
	return n
}

// wanted reports whether a piece is missing and nobody is asked for it.
func (m *model) wanted(piece int) bool {
	_, verifying := m.author[piece]
	return !m.done[piece] && !verifying && m.live(piece) == 0
}

func (m *model) avail(piece int) int {
	n := 0
	for _, p := range m.peers {
		if p.has[piece] {
			n++
		}
	}
	return n
}

func (m *model) endgame() bool {
	for piece := range m.done {
		if m.wanted(piece) && m.avail(piece) > 0 {
			return false
		}
	}
	return true
}

// step applies an event to the model, then to the scheduler, and checks.
func (m *model) step(ev scheduler.Event) []scheduler.Effect {
	if m.ended == nil {
		m.apply(ev)
	}
	effects := slices.Clone(m.sched.Step(m.now, ev))
	twins := m.twin.Step(m.now, ev)
	if len(effects)+len(twins) > 0 && !reflect.DeepEqual(effects, twins) {
		m.t.Fatalf("the same events gave %v and %v", effects, twins)
	}
	if m.ended != nil && len(effects) > 0 {
		m.t.Fatalf("after %v came %v", m.ended, effects)
	}
	verify := false
	for _, e := range effects {
		_, ok := e.(scheduler.Verify)
		verify = verify || ok
		m.carryOut(e)
	}
	if got, ok := ev.(scheduler.PieceReceived); ok && !verify && m.ended == nil && got.Piece >= 0 && got.Piece < len(m.done) {
		m.wasted += m.bytes(got.Piece)
	}
	m.check()
	return effects
}

func (m *model) apply(ev scheduler.Event) {
	switch ev := ev.(type) {
	case scheduler.PeerJoined:
		m.drop(ev.Peer)
		if m.banned[ev.Peer] > m.now {
			return
		}
		p := &member{id: ev.Peer, has: make([]bool, len(m.done)), asked: map[int]bool{}, begun: map[int]bool{}, reclaimed: map[int]bool{}}
		for i := range p.has {
			p.has[i] = ev.Complete || i/8 < len(ev.Bits) && ev.Bits[i/8]&(0x80>>(i%8)) != 0
		}
		m.peers = append(m.peers, p)
	case scheduler.PeerHas:
		if p := m.peer(ev.Peer); p != nil && ev.Piece >= 0 && ev.Piece < len(m.done) {
			p.has[ev.Piece] = true
		}
	case scheduler.PeerLeft:
		m.drop(ev.Peer)
	case scheduler.PieceBegun:
		if p := m.peer(ev.Peer); p != nil {
			if _, ok := p.asked[ev.Piece]; ok {
				p.begun[ev.Piece] = true
			}
		}
	case scheduler.PieceReceived:
		if p := m.peer(ev.Peer); p != nil {
			m.answer(p, ev.Piece)
		}
	case scheduler.FetchFailed:
		if p := m.peer(ev.Peer); p != nil {
			if cancelled, ok := p.asked[ev.Piece]; ok {
				cancelled = cancelled || p.reclaimed[ev.Piece]
				m.answer(p, ev.Piece)
				switch {
				case ev.Code == protocol.CodeBusy:
					p.hold = m.now + time.Second
				case ev.Code != "" || !cancelled:
					if p.has[ev.Piece] {
						p.has[ev.Piece] = false
						p.denied = append(p.denied, denial{ev.Piece, m.now + 30*time.Second})
					}
				}
			}
		}
	case scheduler.PieceVerified:
		if m.verdict(ev.Piece) {
			m.done[ev.Piece] = true
		}
	case scheduler.PieceCorrupt:
		if id, ok := m.author[ev.Piece]; ok {
			m.verdict(ev.Piece)
			m.wasted += m.bytes(ev.Piece)
			m.banned[id] = max(m.banned[id], m.now+10*time.Minute)
			m.drop(id)
		}
	case scheduler.PieceUnsaved:
		if m.verdict(ev.Piece) {
			m.wasted += m.bytes(ev.Piece)
		}
	case scheduler.PieceInconsistent:
		m.verdict(ev.Piece)
	case scheduler.Paused:
		m.paused = true
	case scheduler.Resumed:
		m.paused = false
	case scheduler.Budget:
		m.budget = ev.Bytes
	case scheduler.Tick:
		for _, p := range m.peers {
			p.denied = slices.DeleteFunc(p.denied, func(d denial) bool {
				p.has[d.piece] = p.has[d.piece] || d.until <= m.now
				return d.until <= m.now
			})
		}
	case scheduler.Candidates:
	}
}

func (m *model) answer(p *member, piece int) {
	if _, ok := p.asked[piece]; ok {
		delete(p.asked, piece)
		delete(p.begun, piece)
		delete(p.reclaimed, piece)
		m.inFlight -= m.bytes(piece)
	}
}

func (m *model) verdict(piece int) bool {
	if _, ok := m.author[piece]; !ok {
		return false
	}
	delete(m.author, piece)
	m.inFlight -= m.bytes(piece)
	return true
}

var _ fatalist = (*rapid.T)(nil)
