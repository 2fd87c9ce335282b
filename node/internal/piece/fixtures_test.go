package piece_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/node/internal/gate"
	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
)

// file is content in memory. Its zero have means all pieces.
type file struct {
	manifest *protocol.Manifest
	data     []byte
	// before runs ahead of each read.
	before func(off int64) error

	mu      sync.Mutex
	partial bool
	have    map[int]bool
	tell    map[int]func(int)
	next    int
}

func newFile(size int64) *file {
	data := make([]byte, size)
	_, _ = mathrand.NewChaCha8([32]byte{byte(size)}).Read(data)
	return &file{
		data: data,
		manifest: &protocol.Manifest{
			Name: "f", Size: size, PieceLength: protocol.PieceLength,
			Pieces: make([]protocol.PieceHash, protocol.PieceCount(size, protocol.PieceLength)),
		},
		have: map[int]bool{}, tell: map[int]func(int){},
	}
}

func (f *file) Manifest() *protocol.Manifest { return f.manifest }

func (f *file) Have() (bool, []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.partial {
		return true, nil
	}
	bits := make([]byte, (len(f.manifest.Pieces)+7)/8)
	for i := range f.have {
		bits[i/8] |= 0x80 >> (i % 8)
	}
	return false, bits
}

func (f *file) Subscribe(tell func(int)) func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	key := f.next
	f.tell[key] = tell
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.tell, key)
	}
}

func (f *file) add(i int) {
	f.mu.Lock()
	f.have[i] = true
	told := make([]func(int), 0, len(f.tell))
	for _, tell := range f.tell {
		told = append(told, tell)
	}
	f.mu.Unlock()
	for _, tell := range told {
		tell(i)
	}
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if f.before != nil {
		if err := f.before(off); err != nil {
			return 0, err
		}
	}
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) piece(i int) []byte {
	off := f.manifest.PieceOffset(i)
	return f.data[off : off+f.manifest.PieceSize(i)]
}

var (
	theFile  = protocol.FileID{1}
	theGroup = protocol.GroupID{1}
)

// admission is a gate of a few words: the ticket says what becomes of it.
type admission struct {
	content piece.Content

	mu      sync.Mutex
	now     time.Time
	expires time.Time
	asked   int
}

func newAdmission(content piece.Content) *admission {
	now := time.Unix(1_000_000, 0)
	return &admission{content: content, now: now, expires: now.Add(time.Hour)}
}

func (a *admission) clock() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now
}

func (a *admission) set(now, expires time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now, a.expires = time.Unix(1_000_000, 0).Add(now), time.Unix(1_000_000, 0).Add(expires)
}

func (a *admission) admit(_ context.Context, remote peer.ID, ticket []byte, id protocol.FileID) (gate.Grant, piece.Content, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	grant := gate.Grant{Group: theGroup, Peer: remote, Expires: a.expires}
	switch {
	case string(ticket) == "expired":
		return gate.Grant{}, nil, protocol.Errorf(protocol.CodeSession, "expired")
	case string(ticket) == "other group":
		grant.Group = protocol.GroupID{2}
	case !strings.HasPrefix(string(ticket), "good"):
		return gate.Grant{}, nil, protocol.Errorf(protocol.CodeNotMember, "no: %s", ticket)
	case id != theFile:
		return gate.Grant{}, nil, protocol.Errorf(protocol.CodeNotFound, "no such file")
	}
	return grant, a.content, nil
}

func (a *admission) config() piece.ServerConfig {
	return piece.ServerConfig{Admit: a.admit, Now: a.clock}
}

// awaitAsked waits until so many tickets have been shown.
func (a *admission) awaitAsked(t *testing.T, times int) {
	t.Helper()
	until(t, fmt.Sprintf("the gate is asked %d times", times), func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.asked == times
	})
}

// serving is a server of f to whoever has a good ticket.
func serving(f *file) piece.ServerConfig { return newAdmission(f).config() }

func newHost(t testing.TB) libp2phost.Host {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(host.Options{Key: key, Listen: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/0")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// seed serves content on a host of its own.
func seed(t testing.TB, cfg piece.ServerConfig) (*piece.Server, libp2phost.Host) {
	t.Helper()
	cfg.Host = newHost(t)
	s := piece.NewServer(cfg)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, cfg.Host
}

func introduce(from, to libp2phost.Host) {
	from.Peerstore().AddAddrs(to.ID(), to.Addrs(), peerstore.PermanentAddrTTL)
}

// fetching is how a leecher opens a stream for f, with a good ticket.
func fetching(f *file, sink func(piece.Event)) piece.OpenConfig {
	return piece.OpenConfig{Manifest: f.manifest, File: theFile, Ticket: []byte("good"), Sink: sink}
}

// leech opens a stream whose events come on the returned channel.
func leech(t testing.TB, from, to libp2phost.Host, f *file, ticket string) (*piece.Conn, *events) {
	t.Helper()
	introduce(from, to)
	e := newEvents()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	cfg := fetching(f, e.put)
	cfg.Host, cfg.Peer, cfg.Ticket = from, to.ID(), []byte(ticket)
	c, err := piece.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		e.closed(t)
	})
	return c, e
}

// events collects what a sink got, but Begun.
type events struct {
	ch  chan piece.Event
	end *piece.Closed
}

func newEvents() *events { return &events{ch: make(chan piece.Event, 1024)} }

func (e *events) put(ev piece.Event) {
	if _, ok := ev.(piece.Begun); !ok {
		e.ch <- ev
	}
}

func (e *events) next(t testing.TB) piece.Event {
	t.Helper()
	select {
	case ev := <-e.ch:
		if end, ok := ev.(piece.Closed); ok {
			e.end = &end
		}
		return ev
	case <-time.After(10 * time.Second):
		t.Fatal("no event for 10 s")
		return nil
	}
}

// want reads the next event, which must be of type E.
func want[E piece.Event](t testing.TB, e *events) E {
	t.Helper()
	ev := e.next(t)
	got, ok := ev.(E)
	if !ok {
		t.Fatalf("event %#v, want %T", ev, got)
	}
	return got
}

// closed drops everything up to the end, and returns why it ended.
func (e *events) closed(t testing.TB) error {
	t.Helper()
	for e.end == nil {
		if r, ok := e.next(t).(piece.Received); ok {
			r.Data.Release()
		}
	}
	return e.end.Err
}

// until waits for a condition that a goroutine of the tested code brings about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited 10 s for: %s", what)
		}
	}
}
