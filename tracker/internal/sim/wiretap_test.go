package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// verifierMark is in every password verifier and in nothing else.
const verifierMark = "$argon2id$"

// wiretap listens to all that goes between hosts and finds what must not.
type wiretap struct {
	w       *world
	later   func(f func()) // has f run on the side
	resting atomic.Bool    // all trackers know the same: who was removed gets nothing
	pieces  atomic.Int64   // that were seen
	frames  atomic.Int64   // of trackers to clients that named an address

	mu    sync.Mutex
	users map[peer.ID]protocol.UserID // of clients
	wrong []string
}

func (t *wiretap) errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wrong = append(t.wrong, fmt.Sprintf(format, args...))
}

// belongs notes whose client a host is.
func (t *wiretap) belongs(p peer.ID, u protocol.UserID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.users[p] = u
}

func (t *wiretap) userOf(p peer.ID) (protocol.UserID, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u, ok := t.users[p]
	return u, ok
}

// listen is the tap of the lan.
func (t *wiretap) listen(w way, proto p2pproto.ID) (there, back func([]byte)) {
	switch {
	case proto == protocol.PieceProtocol:
		l := &transfer{tap: t, way: w}
		return l.fromLeecher, l.fromSeeder
	case proto == protocol.TrackerProtocol:
		return nil, t.toClient(w)
	case strings.Contains(string(proto), "meshsub"):
		gossip := func() func([]byte) {
			find := finder(verifierMark)
			return func(b []byte) {
				if find(b) != nil {
					t.errorf("a password verifier went over the topic from %s", w.from)
				}
			}
		}
		return gossip(), gossip()
	}
	return nil, nil
}

// finder returns a function that is given a stream in parts; it returns what
// stands behind a mark, in the part in which that is whole, and enough follows.
func finder(mark string) func([]byte) []byte {
	const behind = 8
	var kept []byte
	return func(b []byte) []byte {
		all := append(kept, b...)
		i := bytes.Index(all, []byte(mark))
		if i >= 0 && len(all) >= i+len(mark)+behind {
			found := slices.Clone(all[i+len(mark):])
			kept = slices.Clone(all[i+1:])
			return found
		}
		kept = slices.Clone(all[max(0, len(all)-len(mark)-behind+1):])
		return nil
	}
}

// toClient listens to what a tracker says: no verifier to anybody, no address
// but to those who share a group with its owner.
func (t *wiretap) toClient(w way) func([]byte) {
	verifier, address := finder(verifierMark), finder(lanAddr)
	tracker := t.memberOf(w.to)
	return func(b []byte) {
		if verifier(b) != nil {
			t.errorf("tracker %s sent a password verifier to %s", w.to, w.from)
		}
		for found := address(b); found != nil; found = address(nil) {
			t.checkAddress(tracker, w.from, found)
		}
	}
}

func (t *wiretap) memberOf(id peer.ID) *member {
	for _, m := range t.w.all() {
		if m.id == id {
			return m
		}
	}
	return nil
}

// checkAddress looks whether a client may learn the address behind lanAddr.
func (t *wiretap) checkAddress(tracker *member, to peer.ID, rest []byte) {
	number, _, _ := bytes.Cut(rest, []byte("/"))
	lan := t.w.net.(*lan)
	t.mu.Lock()
	var of peer.ID
	for p := range t.users {
		if lan.addr(p).String() == lanAddr+string(number)+"/tcp/4001" {
			of = p
		}
	}
	t.mu.Unlock()
	if of == "" || of == to || tracker == nil {
		return // a tracker's, or one's own
	}
	t.frames.Add(1)
	reader, ok := t.userOf(to)
	owner, _ := t.userOf(of)
	at := time.Now()
	if ok && tracker.together(reader, owner, at) {
		return
	}
	t.later(func() {
		// A view shows a change some milliseconds before it is told.
		time.Sleep(time.Second)
		if !ok || !tracker.together(reader, owner, at) {
			t.errorf("%v: tracker %s told %v where %v is, who shares no group with them", at, tracker.id, reader, owner)
		}
	})
}

// transfer is a stream of pieces, as a listener understands it.
type transfer struct {
	tap *wiretap
	way way // from the leecher

	mu      sync.Mutex
	asked   []byte // not understood yet
	tickets [][]byte
	file    []byte
	given   []byte
	raw     int // bytes of a piece that still follow
}

// frame takes the first frame off.
func frame(b *[]byte) []byte {
	n, used := binary.Uvarint(*b)
	if used <= 0 || uint64(len(*b)-used) < n {
		return nil
	}
	f := (*b)[used : used+int(n)]
	*b = (*b)[used+int(n):]
	return f
}

func (l *transfer) fromLeecher(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, b...)
	for f := frame(&l.asked); f != nil; f = frame(&l.asked) {
		m := &pb.FromLeecher{}
		if proto.Unmarshal(f, m) != nil {
			return
		}
		if o := m.GetOpen(); o != nil {
			l.tickets, l.file = append(l.tickets, o.GetTicket()), o.GetFileId()
		}
		if r := m.GetRenewTicket(); r != nil {
			l.tickets = append(l.tickets, r.GetTicket())
		}
	}
}

func (l *transfer) fromSeeder(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(b) > 0 {
		if n := min(len(b), l.raw); n > 0 {
			l.raw, b = l.raw-n, b[n:]
			continue
		}
		l.given, b = append(l.given, b[0]), b[1:]
		f := frame(&l.given)
		if f == nil {
			continue
		}
		m := &pb.FromSeeder{}
		if proto.Unmarshal(f, m) != nil {
			l.tap.errorf("%s sent a malformed header of a piece", l.way.to)
			return
		}
		if p := m.GetPiece(); p != nil {
			l.raw = int(p.GetLength())
			l.check()
		}
	}
}

// check looks whether there was a good ticket for a piece that is being sent:
// of a member of a group that has the file.
func (l *transfer) check() {
	l.tap.pieces.Add(1)
	good := slices.ContainsFunc(l.tickets, func(envelope []byte) bool {
		k, err := credential.OpenTicket(envelope, credential.Check{
			Network: netID, Remote: l.way.from, Now: time.Now().Add(maxSkew),
			Trusted: func(id peer.ID) bool { return l.tap.memberOf(id) != nil },
		})
		return err == nil && !k.Expired(time.Now().Add(-maxSkew)) && l.tap.vouches(k, protocol.FileID(l.file))
	})
	if !good {
		l.tap.errorf("%v: %s got a piece of file %x from %s without a ticket for it", time.Now(), l.way.from, l.file, l.way.to)
	}
}

// vouches reports whether any tracker, or all of them at rest, know the file in
// the ticket's group, and at rest the member.
func (t *wiretap) vouches(k *credential.Ticket, file protocol.FileID) bool {
	resting := t.resting.Load()
	for _, m := range t.w.all() {
		r, _ := m.serving()
		if r == nil {
			continue
		}
		known := false
		r.View(func(c *catalog.Catalog) {
			_, known = c.File(k.Group, file)
			known = known && (!resting || c.IsMember(k.Group, k.User))
		})
		if known != resting {
			return known
		}
	}
	return resting
}
