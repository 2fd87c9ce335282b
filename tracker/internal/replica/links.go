package replica

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
)

// trackerTag protects the connections of trackers from being given up.
const trackerTag = "tracker"

// links is the roster: one link for each other tracker of the list. The zero
// value is an empty one.
type links struct {
	mu   sync.RWMutex
	byID map[peer.ID]*link
	done bool // nothing is added any more
}

// link is what is known of one other tracker. Two goroutines serve it: the
// loop of reconnect.go and the confirmer of confirm.go.
type link struct {
	id      peer.ID
	name    string // the ID's text form
	info    peer.AddrInfo
	ctx     context.Context //nolint:containedctx // the lifetime of the link
	cancel  context.CancelFunc
	asks    chan chan struct{} // wants an attempt now, and to know its end
	nudges  chan struct{}      // wants a round soon; holds one
	confirm chan *confirmation
	slots   chan struct{} // of requests of it that are served
	waiting chan struct{} // of requests of it that wait for one of those
	calls   chan struct{} // of requests to it that are under way
	bulk    chan struct{} // of those among them that are for manifests

	mu        sync.Mutex
	connected bool // it has answered, and is of this network
	heard     int  // how often found has noted so
	answered  bool // it has said what it is, once at least
	present   bool // it has done so since it was connected last
	named     bool // it has said last that it is part of a network
	foreign   bool // of another one than this tracker
	leaving   bool // it is not in its own list any more
	refusals  int  // rounds in a row that were refused though it was reached
	late      bool // it missed a deadline and has not answered since
	stalled   bool // it missed the cap of a confirmation and has stored nothing since
	behind    bool // presence of it was missed
	failures  int  // rounds in a row that ran out of time
	clock     reading
	inStep    time.Time // end of the last complete exchange
	refused   time.Time // when it refused last; it counts for refusalCounts
}

// SetRoster replaces the list of the other trackers. One that is not in it any
// more is a stranger at once. Who takes part in gossip is settled when a connection
// is made, and stays so while that stands: those with trackers that were dropped,
// or added, are closed.
func (r *Replica) SetRoster(others []peer.AddrInfo) {
	want := map[peer.ID]peer.AddrInfo{}
	for _, info := range others {
		if info.ID != r.self {
			want[info.ID] = info
		}
	}
	known := map[peer.ID]bool{}
	for id := range want {
		known[id] = r.links.has(id)
	}
	start := func(l *link) {
		if !known[l.id] {
			r.closePeer(l.id) // it may have come as a stranger: gossip would pass it by
		}
		r.tasks.run(func() { r.runLink(l.ctx, l) })
		r.tasks.run(func() { r.runConfirmer(l.ctx, l) })
	}
	for _, l := range r.links.replace(want, r.newLink, start) {
		l.cancel()
		if _, stays := want[l.id]; stays {
			continue
		}
		r.cfg.Host.ConnManager().Unprotect(l.id, trackerTag)
		r.cfg.Host.Peerstore().ClearAddrs(l.id)
		r.closePeer(l.id)
	}
	r.proofs.doubt()
	r.peersChanged()
}

func (r *Replica) closePeer(id peer.ID) {
	if err := r.cfg.Host.Network().ClosePeer(id); err != nil {
		log.Debugw("close a connection", "tracker", id.String(), "err", err)
	}
}

// peersChanged has OnPeer told soon.
func (r *Replica) peersChanged() {
	select {
	case r.peers <- struct{}{}:
	default:
	}
}

// tellPeers is the one caller of OnPeer: what it tells is in order, and the last
// word is how things are. Who comes and goes between two looks is not told of.
func (r *Replica) tellPeers() {
	told := map[peer.ID]bool{}
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.peers:
		}
		now := map[peer.ID]bool{}
		for _, id := range r.Connected() {
			now[id] = true
		}
		for id := range told {
			if !now[id] {
				log.Infow("tracker lost", "tracker", id.String())
				r.onPeer(id, false)
			}
		}
		for id := range now {
			if !told[id] {
				log.Infow("tracker connected", "tracker", id.String())
				r.onPeer(id, true)
			}
		}
		told = now
	}
}

func (r *Replica) onPeer(id peer.ID, connected bool) {
	if r.cfg.OnPeer != nil {
		r.cfg.OnPeer(id, connected)
	}
}

// newLink makes a link that does not run yet. It is called without a lock held.
func (r *Replica) newLink(info peer.AddrInfo) *link {
	ctx, cancel := context.WithCancel(r.ctx)
	l := &link{
		id: info.ID, name: info.ID.String(), info: info, ctx: ctx, cancel: cancel,
		asks: make(chan chan struct{}), nudges: make(chan struct{}, 1),
		confirm: make(chan *confirmation, confirmQueue), slots: make(chan struct{}, maxStreams),
		waiting: make(chan struct{}, maxWaiting), calls: make(chan struct{}, maxCalls),
		bulk: make(chan struct{}, maxBulk),
	}
	r.cfg.Host.Peerstore().ClearAddrs(info.ID) // those of an older list
	r.cfg.Host.Peerstore().AddAddrs(info.ID, info.Addrs, peerstore.PermanentAddrTTL)
	r.cfg.Host.ConnManager().Protect(info.ID, trackerTag)
	return l
}

// replace brings the links to want: it makes what is new, starts it once it is in
// the list, and returns what is gone. A tracker whose addresses changed is made anew.
func (ls *links) replace(want map[peer.ID]peer.AddrInfo, open func(peer.AddrInfo) *link, start func(*link)) (gone []*link) {
	ls.mu.Lock()
	kept := map[peer.ID]*link{}
	for id, l := range ls.byID {
		if info, ok := want[id]; ok && sameAddrs(info.Addrs, l.info.Addrs) {
			kept[id] = l
			continue
		}
		gone = append(gone, l)
	}
	ls.byID = kept
	done := ls.done
	ls.mu.Unlock()
	if done {
		return gone
	}
	for id, info := range want {
		if kept[id] != nil {
			continue
		}
		l := open(info)
		ls.mu.Lock()
		next := maps.Clone(ls.byID)
		next[id] = l
		ls.byID = next
		done := ls.done
		ls.mu.Unlock()
		if done {
			l.cancel()
		}
		start(l)
	}
	return gone
}

func sameAddrs(a, b []ma.Multiaddr) bool {
	return slices.EqualFunc(a, b, func(x, y ma.Multiaddr) bool { return x.Equal(y) })
}

func (ls *links) stopAll() {
	ls.mu.Lock()
	ls.done = true
	all := slices.Collect(maps.Values(ls.byID))
	ls.mu.Unlock()
	for _, l := range all {
		l.cancel()
	}
}

// get returns the link of a tracker of the list, nil for a stranger.
func (ls *links) get(id peer.ID) *link {
	ls.mu.RLock()
	defer ls.mu.RUnlock()
	return ls.byID[id]
}

func (ls *links) has(id peer.ID) bool { return ls.get(id) != nil }

// all returns the links ordered by ID.
func (ls *links) all() []*link {
	ls.mu.RLock()
	defer ls.mu.RUnlock()
	return slices.SortedFunc(maps.Values(ls.byID), func(a, b *link) int {
		return slices.Compare([]byte(a.id), []byte(b.id))
	})
}

// connected returns the links to trackers that are there.
func (ls *links) connected() []*link {
	return slices.DeleteFunc(ls.all(), func(l *link) bool { return !l.isConnected() })
}

// prompt returns those of connected that have not missed a deadline just now.
func (ls *links) prompt() []*link {
	return slices.DeleteFunc(ls.connected(), func(l *link) bool { return l.isLate() })
}

// storing returns those of prompt whose disks, as far as is known, answer too.
func (ls *links) storing() []*link {
	return slices.DeleteFunc(ls.prompt(), func(l *link) bool { return l.isStalled() })
}

// Connected returns the trackers that are connected and of this network.
func (r *Replica) Connected() []peer.ID {
	var out []peer.ID
	for _, l := range r.links.connected() {
		out = append(out, l.id)
	}
	return out
}

func (l *link) isConnected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.connected
}

// setConnected reports whether that is a change.
func (l *link) setConnected(yes bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := l.connected != yes
	l.connected = yes
	if yes {
		l.heard++
		l.stalled = l.stalled && !changed // it may have been started again
	}
	return changed
}

// timesHeard tells whether a tracker was heard between two looks.
func (l *link) timesHeard() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard
}

func (l *link) isLate() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.late
}

func (l *link) setLate(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late = yes
}

// missedCap notes that a tracker has not stored in time. It may answer all the
// same: greetings and reservations need no disk.
func (l *link) missedCap() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late = l.late || !l.stalled // a stalled one is known to be slow at this only
	l.stalled = true
}

func (l *link) isStalled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stalled
}

func (l *link) setStalled(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stalled = yes
}

// probe asks a tracker that has stalled whether its disk answers. Nobody waits.
func (l *link) probe() {
	select {
	case l.confirm <- &confirmation{done: make(chan outcome, 1)}:
	default: // so much waits for it that the answer to that will do
	}
}

// nudge asks for a round soon.
func (l *link) nudge() {
	select {
	case l.nudges <- struct{}{}:
	default:
	}
}

// notifiee wakes a link when its connection comes or goes.
func (r *Replica) notifiee() *network.NotifyBundle {
	return &network.NotifyBundle{
		ConnectedF: func(_ network.Network, c network.Conn) {
			if l := r.links.get(c.RemotePeer()); l != nil {
				l.nudge()
			}
		},
		DisconnectedF: func(n network.Network, c network.Conn) {
			l := r.links.get(c.RemotePeer())
			if l == nil || n.Connectedness(l.id) == network.Connected {
				return
			}
			l.away()
			r.lost(l)
			l.nudge()
		},
	}
}

// lost notes that a tracker does not answer any more.
func (r *Replica) lost(l *link) {
	if l.setConnected(false) {
		r.proofs.doubt() // what it alone has confirmed may come back without it
		r.peersChanged()
	}
}

// found notes that a tracker of this network answers.
func (r *Replica) found(l *link) {
	if l.setConnected(true) {
		r.peersChanged()
		r.blobs.fetchSoon() // what is missing may be there
	}
}
