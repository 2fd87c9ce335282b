package swarm

import (
	"bytes"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// maxKnown bounds the peers that a swarm remembers. More than it can use are
// ignored until others are withdrawn.
const maxKnown = 500

// notice is the latest that was said about a peer.
type notice struct {
	peer    Peer
	offered bool
	again   bool // it was withdrawn before it was offered
}

// mailbox takes what the node says until the loop reads it, so that nobody who
// says something waits for the loop. Only the latest word about a peer is kept.
type mailbox struct {
	wake chan struct{} // one slot: there is something to read

	mu      sync.Mutex
	notices map[peer.ID]*notice
	order   []*notice
	ticket  []byte // the latest; nil if read
}

func newMailbox() *mailbox {
	return &mailbox{wake: make(chan struct{}, 1), notices: make(map[peer.ID]*notice)}
}

func (m *mailbox) offer(p Peer) {
	m.put(p.ID, func(n *notice) {
		n.again = n.again || n.peer.ID != "" && !n.offered
		n.peer, n.offered = p, true
	})
}

func (m *mailbox) withdraw(id peer.ID) {
	m.put(id, func(n *notice) { n.peer.ID, n.offered = id, false })
}

func (m *mailbox) put(id peer.ID, change func(*notice)) {
	m.mu.Lock()
	n := m.notices[id]
	full := len(m.order) >= maxKnown
	if n == nil && !full {
		n = &notice{}
		m.notices[id] = n
		m.order = append(m.order, n)
	}
	if n != nil {
		change(n)
	}
	m.mu.Unlock()
	notify(m.wake)
}

func (m *mailbox) renew(ticket []byte) {
	m.mu.Lock()
	m.ticket = bytes.Clone(ticket)
	m.mu.Unlock()
	notify(m.wake)
}

// read takes everything.
func (m *mailbox) read() (notices []*notice, ticket []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	notices, ticket = m.order, m.ticket
	m.order, m.ticket = nil, nil
	clear(m.notices)
	return notices, ticket
}

// notify fills a channel of one slot.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
