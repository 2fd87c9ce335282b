package swarm_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/node/internal/swarm"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pieceLength is short here: nothing under test looks at the bytes.
const pieceLength = 1024

// content is the right bytes of a piece.
func content(i int, size int64) []byte {
	return bytes.Repeat([]byte{byte(i), byte(i >> 8)}, pieceLength/2)[:size]
}

// file is a swarm.File in memory.
type file struct {
	manifest *protocol.Manifest
	slow     time.Duration // of a write

	mu           sync.Mutex
	hung         chan struct{} // writes wait until it is closed; nil for none
	have         []bool
	fault        error // of writes from now on
	inconsistent bool
	undecided    bool // neither verdict nor error
	writes       int  // tried
}

func newFile(pieces int) *file {
	size := int64(pieces)*pieceLength - pieceLength/4
	return &file{
		manifest: &protocol.Manifest{Name: "lecture.mp4", Size: size, PieceLength: pieceLength, Pieces: make([]protocol.PieceHash, pieces)},
		have:     make([]bool, pieces),
	}
}

func (f *file) Manifest() *protocol.Manifest { return f.manifest }

func (f *file) Have() (bool, []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !slices.Contains(f.have, false), field(f.have)
}

func field(have []bool) []byte {
	bits := make([]byte, (len(have)+7)/8)
	for i, ok := range have {
		if ok {
			bits[i/8] |= 0x80 >> (i % 8)
		}
	}
	return bits
}

func (f *file) Verify(i int, data []byte) filestore.Verdict {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.undecided:
		return 0
	case f.inconsistent:
		return filestore.Inconsistent
	case !bytes.Equal(data, content(i, f.manifest.PieceSize(i))):
		return filestore.Corrupt
	}
	return filestore.Good
}

func (f *file) Store(i int, _ []byte) error {
	time.Sleep(f.slow)
	f.mu.Lock()
	hung := f.hung
	f.mu.Unlock()
	if hung != nil {
		<-hung
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	if f.fault != nil {
		return f.fault
	}
	f.have[i] = true
	return nil
}

func (f *file) setFault(err error) {
	f.mu.Lock()
	f.fault = err
	f.mu.Unlock()
}

func (f *file) written() (tried, good int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ok := range f.have {
		if ok {
			good++
		}
	}
	return f.writes, good
}

// world is the peers that a swarm may dial, and what happened at them.
type world struct {
	mu       sync.Mutex
	peers    map[peer.ID]*host
	buffers  []*piece.Buffer
	inFlight int // requests not answered, over all links
	most     int // of those at any time
}

// host is a peer. Its fields but those below mu are set before it is used.
type host struct {
	world    *world
	manifest *protocol.Manifest
	each     time.Duration // for one piece
	corrupt  bool
	silent   bool  // never answers anything
	refuse   error // of dials

	mu      sync.Mutex
	offline bool
	has     []bool // nil: everything
	dials   []time.Time
	links   map[*link]struct{}
	asked   int // requests
	tickets []string
}

func newWorld() *world { return &world{peers: make(map[peer.ID]*host)} }

func (w *world) add(id string, f *file, each time.Duration) *host {
	h := &host{world: w, manifest: f.manifest, each: each, links: make(map[*link]struct{})}
	w.mu.Lock()
	w.peers[peer.ID(id)] = h
	w.mu.Unlock()
	return h
}

func (w *world) count(by int) {
	w.mu.Lock()
	w.inFlight += by
	w.most = max(w.most, w.inFlight)
	w.mu.Unlock()
}

// unreleased counts the buffers that nobody gave back.
func (w *world) unreleased() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, b := range w.buffers {
		if b.B != nil {
			n++
		}
	}
	return n
}

func (w *world) dial(ctx context.Context, p swarm.Peer, sink func(piece.Event)) (swarm.Link, error) {
	w.mu.Lock()
	h := w.peers[p.ID]
	w.mu.Unlock()
	h.mu.Lock()
	h.dials = append(h.dials, time.Now())
	offline, refuse := h.offline, h.refuse
	h.mu.Unlock()
	select {
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch {
	case refuse != nil:
		return nil, refuse
	case offline:
		return nil, fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
	}
	l := &link{host: h, sink: sink, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	h.mu.Lock()
	h.links[l] = struct{}{}
	h.mu.Unlock()
	go l.serve()
	return l, nil
}

// leave goes offline and ends the links.
func (h *host) leave() {
	h.mu.Lock()
	h.offline = true
	links := h.links
	h.links = make(map[*link]struct{})
	h.mu.Unlock()
	for l := range links {
		l.Close()
	}
}

func (h *host) set(f func()) {
	h.mu.Lock()
	f()
	h.mu.Unlock()
}

func (h *host) open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.links)
}

func (h *host) dialed() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.dials)
}

func (h *host) requests() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

// link is a swarm.Link whose other end answers one request after another.
type link struct {
	host *host
	sink func(piece.Event)
	wake chan struct{}

	once   sync.Once
	closed chan struct{}

	mu      sync.Mutex
	queue   []int
	dropped []int
}

func (l *link) Request(i int) {
	l.host.world.count(1)
	l.host.set(func() { l.host.asked++ })
	l.mu.Lock()
	l.queue = append(l.queue, i)
	l.mu.Unlock()
	l.notify()
}

func (l *link) Cancel(i int) {
	l.mu.Lock()
	if at := slices.Index(l.queue, i); at >= 0 {
		l.queue = slices.Delete(l.queue, at, at+1)
		l.dropped = append(l.dropped, i)
	}
	l.mu.Unlock()
	l.notify()
}

func (l *link) notify() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *link) Renew(ticket []byte) {
	l.host.set(func() { l.host.tickets = append(l.host.tickets, string(ticket)) })
}

func (l *link) RTT() time.Duration { return 5 * time.Millisecond }

func (l *link) Close() { l.once.Do(func() { close(l.closed) }) }

func (l *link) serve() {
	h := l.host
	h.mu.Lock()
	has := slices.Clone(h.has)
	h.mu.Unlock()
	l.sink(piece.Bitfield{Complete: has == nil, Bits: field(has)})
	for l.answer() {
	}
	l.mu.Lock()
	h.world.count(-len(l.queue) - len(l.dropped))
	l.mu.Unlock()
	h.set(func() { delete(h.links, l) })
	l.sink(piece.Closed{})
}

// answer answers one request, or waits for one; false if the link is closed.
func (l *link) answer() bool {
	select {
	case <-l.closed:
		return false
	case <-l.wake:
	}
	for !l.host.silent {
		l.mu.Lock()
		var dropped []int
		dropped, l.dropped = l.dropped, nil
		i := -1
		if len(l.queue) > 0 {
			i = l.queue[0]
			l.queue = l.queue[1:]
		}
		l.mu.Unlock()
		for _, d := range dropped {
			l.host.world.count(-1)
			l.sink(piece.Dropped{Piece: d})
		}
		if i < 0 {
			break
		}
		l.send(i)
	}
	return true
}

func (l *link) send(i int) {
	h := l.host
	select {
	case <-time.After(h.each):
		b := &piece.Buffer{B: content(i, h.manifest.PieceSize(i))}
		if h.corrupt {
			b.B[0] ^= 1
		}
		h.world.mu.Lock()
		h.world.buffers = append(h.world.buffers, b)
		h.world.mu.Unlock()
		h.world.count(-1)
		l.sink(piece.Received{Piece: i, Data: b, Took: h.each})
	case <-l.closed:
		h.world.count(-1)
	}
}
