package rpc

import (
	"cmp"
	"runtime/debug"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
)

const (
	// eventQueue is how many events may wait for one client. One that is further
	// behind attaches again and gets the present state instead.
	eventQueue = 256
	// newsQueue is how many facts and offers may wait to be looked at. Beyond
	// that, as when this tracker catches up with another, all clients attach again.
	newsQueue = 50_000
	// settle is how long a client has to show the session of a new password
	// before its stream of the old one ends.
	settle = 3 * time.Second
)

// hub knows the clients that are attached and brings them what concerns them.
// What changed comes in from the replica and the presence table, which must
// not be kept waiting, and is looked at by one goroutine.
type hub struct {
	s    *Server
	wake chan struct{} // one place: there is news
	push pusher        // of the goroutine of run

	// mu is taken under the catalog's read lock: the replica is never asked while it is held.
	mu      sync.Mutex
	closed  bool
	byPeer  map[string]*attached
	byUser  map[protocol.UserID]map[*attached]struct{}
	queue   []news
	queued  int  // facts and offers in queue
	overrun bool // some were dropped
	revoked map[protocol.SessionID]revocation
}

// news is what changed: one of these.
type news struct {
	facts  []catalog.Fact
	offers []presence.Change
	roster bool
}

// attached is one open stream of events.
type attached struct {
	remote remote
	user   protocol.UserID
	events chan *pb.Event
	done   chan struct{} // closed by end

	once sync.Once
	err  error // why it ended; set before done is closed

	// Guarded by hub.mu.
	session *credential.Session
	name    string    // of the user, as last told
	recheck time.Time // when the session must be looked at again; zero: not
}

// end makes the stream return err.
func (a *attached) end(err error) {
	a.once.Do(func() {
		a.err = err
		close(a.done)
	})
}

// send queues an event and never waits: a client that does not read is ended.
func (a *attached) send(e *pb.Event) {
	select {
	case a.events <- e:
	default:
		a.end(again("this client reads its events too slowly"))
	}
}

// again asks a client to open its stream anew.
func again(why string) error {
	return &protocol.Error{Code: protocol.CodeBusy, Msg: why + "; attach again", RetryAfter: 100 * time.Millisecond}
}

func newHub(s *Server) *hub {
	h := &hub{
		s: s, wake: make(chan struct{}, 1), byPeer: make(map[string]*attached),
		byUser:  make(map[protocol.UserID]map[*attached]struct{}),
		revoked: make(map[protocol.SessionID]revocation),
	}
	h.push = newPusher(h)
	return h
}

// add registers a stream. The one that the same client had is ended: it is of
// a connection that the client has given up, or of a client with a copy of its
// key. E_BUSY if there are too many.
func (h *hub) add(c *call) (*attached, error) {
	a := &attached{
		remote: c.remote, user: c.user.ID, session: c.session, name: c.user.Name,
		events: make(chan *pb.Event, eventQueue), done: make(chan struct{}),
	}
	h.mu.Lock()
	older := h.byPeer[c.remote.text]
	if h.closed || older == nil && len(h.byPeer) >= h.s.cfg.MaxClients {
		h.mu.Unlock()
		return nil, &protocol.Error{Code: protocol.CodeBusy, RetryAfter: 10 * time.Second, Msg: "the tracker has as many clients as it can serve"}
	}
	h.forget(older)
	h.byPeer[c.remote.text] = a
	if h.byUser[a.user] == nil {
		h.byUser[a.user] = make(map[*attached]struct{})
	}
	h.byUser[a.user][a] = struct{}{}
	h.mu.Unlock()
	if older != nil {
		older.end(protocol.Errorf(protocol.CodeLocked, "another stream of events with the key of this client has taken over"))
	}
	return a, nil
}

// remove forgets a stream that has returned.
func (h *hub) remove(a *attached) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget(a)
}

// forget is called with mu held; a may be nil or forgotten before.
func (h *hub) forget(a *attached) {
	if a == nil {
		return
	}
	if h.byPeer[a.remote.text] == a {
		delete(h.byPeer, a.remote.text)
	}
	delete(h.byUser[a.user], a)
	if len(h.byUser[a.user]) == 0 {
		delete(h.byUser, a.user)
	}
}

// refresh takes over a newer envelope of the session of an open stream.
func (h *hub) refresh(peerID string, s *credential.Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.byPeer[peerID]
	if a != nil && a.session.ID == s.ID && cmp.Or(cmp.Compare(s.Resets, a.session.Resets),
		cmp.Compare(s.Changes, a.session.Changes), s.Expires.Compare(a.session.Expires)) > 0 {
		a.session = s
	}
}

// clientsOf returns the open streams of a user.
func (h *hub) clientsOf(u protocol.UserID) []*attached {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]*attached, 0, len(h.byUser[u]))
	for a := range h.byUser[u] {
		out = append(out, a)
	}
	return out
}

// online counts the users who have an open stream.
func (h *hub) online() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.byUser)
}

// users returns who has an open stream.
func (h *hub) users() []protocol.UserID {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]protocol.UserID, 0, len(h.byUser))
	for u := range h.byUser {
		out = append(out, u)
	}
	return out
}

func (h *hub) client(peerID string) *attached {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.byPeer[peerID]
}

func (h *hub) all() []*attached {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]*attached, 0, len(h.byPeer))
	for _, a := range h.byPeer {
		out = append(out, a)
	}
	return out
}

// FactsChanged is the replica's OnChange. It does not block.
func (s *Server) FactsChanged(facts []catalog.Fact) { s.hub.tell(news{facts: facts}) }

// OffersChanged is the presence table's OnChange. It does not block.
func (s *Server) OffersChanged(offers []presence.Change) { s.hub.tell(news{offers: offers}) }

// TrackerChanged is the replica's OnPeer. It does not block.
func (s *Server) TrackerChanged(peer.ID, bool) {
	s.hub.tell(news{roster: true})
}

func (h *hub) tell(n news) {
	size := len(n.facts) + len(n.offers)
	h.mu.Lock()
	switch {
	case h.closed:
	case h.queued+size > newsQueue:
		h.queue, h.queued, h.overrun = nil, 0, true
	default:
		h.queue = append(h.queue, n)
		h.queued += size
	}
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// run looks at news until close.
func (h *hub) run() {
	for {
		select {
		case <-h.wake:
		case <-h.s.closing:
			return
		}
		h.mu.Lock()
		queue, overrun := h.queue, h.overrun
		h.queue, h.queued, h.overrun = nil, 0, false
		h.mu.Unlock()
		if overrun {
			h.loadRevoked()
			for _, a := range h.all() {
				a.end(again("the tracker has caught up with many changes at once"))
			}
		}
		for _, n := range queue {
			h.look(n)
		}
	}
}

// look is push.look behind a barrier: news that cannot be told must not end the
// tracker. Clients attach again and get the present state instead.
func (h *hub) look(n news) {
	defer func() {
		if p := recover(); p != nil {
			log.Errorw("panic over news", "cause", p, "stack", string(debug.Stack()))
			for _, a := range h.all() {
				a.end(again("the tracker has met a fault of its own"))
			}
		}
	}()
	h.push.look(n)
}

// close ends all streams and takes no more.
func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	for _, a := range h.all() {
		a.end(again("the tracker is stopping"))
	}
}
