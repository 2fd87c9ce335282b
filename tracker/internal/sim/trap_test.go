package sim

import (
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// moment is a point in the life of a write, which one tracker, the writer, answers
// and another one, the confirmer, has on its disk before that.
type moment string

const (
	isDecided   moment = "decided, before the commit"
	isDurable   moment = "committed, and the writer not told"
	isUnsent    moment = "before the confirmer is sent it"
	isTaken     moment = "before the confirmer's commit"
	isCopied    moment = "committed by the confirmer, which is not told"
	isPromised  moment = "before the confirmation leaves"
	isConfirmed moment = "before the answer leaves"
	isAnswered  moment = "after the answer, before any gossip"
)

var moments = []moment{isDecided, isDurable, isUnsent, isTaken, isCopied, isPromised, isConfirmed, isAnswered}

// trap kills one of the two trackers at one moment of the write of a name. It sits
// between the trackers and their disks, and on the lan.
type trap struct {
	w      *world
	writer *member
	name   string // in keys of the write and of nothing else
	at     moment
	other  bool // the confirmer is killed, not the writer

	mu        sync.Mutex
	quiet     bool // no gossip goes out
	over      bool // all goes through from now on
	confirmer *member
	confirmed bool
	killed    *member
}

// begin stops gossip.
func (t *trap) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.quiet = true
}

// end lets everything through, of those too who were killed and are back.
func (t *trap) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.quiet, t.over = false, true
}

func (t *trap) isQuiet() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.quiet
}

// victim returns who was killed, nil before.
func (t *trap) victim() *member {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.killed
}

// reach tells that the write has come to a moment. It returns errOff if whoever tells so,
// which may be nobody, is dead now: it must not go on.
func (t *trap) reach(p moment, who *member) error {
	t.mu.Lock()
	due := p == t.at && t.killed == nil && !t.over
	if due {
		t.killed = t.writer
		if t.other {
			t.killed = t.confirmer
		}
	}
	dead := t.killed
	if t.over {
		dead = nil
	}
	t.mu.Unlock()
	if due {
		dead.die()
	}
	if dead != nil && dead == who {
		return errOff
	}
	return nil
}

// die is the loss of power in the middle of whatever calls it, and of what is not
// synced. What is left of the
// process reaches neither disk nor lan, and is to be ended with stop.
func (m *member) die() {
	m.disk.drop()
	m.mu.Lock()
	h := m.host
	m.mu.Unlock()
	h.(*station).unplug()
}

// watched is the disk of a tracker with the trap in front of it.
type watched struct {
	store.Store
	t *trap
	m *member
}

// watch is a member's config.
func (t *trap) watch(m *member) func(*replica.Config) {
	return func(c *replica.Config) { c.Store = &watched{c.Store, t, m} }
}

// slowSync is longer than anything takes that must not come before the end of a commit.
const slowSync = 20 * time.Millisecond

// Commit implements store.Store.
func (s *watched) Commit(b store.Batch) error {
	before, after := isTaken, isCopied
	if s.m == s.t.writer {
		before, after = isDecided, isDurable
	}
	about := false
	for _, r := range b.Put {
		about = about || strings.Contains(r.Key, s.t.name)
	}
	about = about && (s.m == s.t.writer || s.m == s.t.confirms())
	if about {
		if err := s.t.reach(before, s.m); err != nil {
			return err
		}
		time.Sleep(slowSync)
	}
	err := s.Store.Commit(b)
	if err == nil && about {
		err = s.t.reach(after, s.m)
	}
	return err
}

// confirms returns the confirmer: the one at which the writer has reserved the
// name; nil before.
func (t *trap) confirms() *member {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.confirmer
}

func (t *trap) memberOf(id peer.ID) *member {
	for _, m := range t.w.all() {
		if m.id == id {
			return m
		}
	}
	return nil
}

// door is the door of the lan.
func (t *trap) door(w way, proto p2pproto.ID) (there, back func([]byte) error) {
	switch {
	case proto == protocol.SyncProtocol && w.from == t.writer.id:
		return t.calls(t.memberOf(w.to))
	case proto == protocol.TrackerProtocol && w.to == t.writer.id:
		return nil, func([]byte) error {
			t.mu.Lock()
			confirmed := t.confirmed
			t.mu.Unlock()
			if !confirmed {
				return nil
			}
			return t.reach(isConfirmed, t.writer)
		}
	case strings.Contains(string(proto), "meshsub"):
		gossip := func([]byte) error {
			if t.isQuiet() {
				return errLost
			}
			return nil
		}
		return gossip, gossip
	}
	return nil, nil
}

// calls looks at one request of the writer to another tracker, and at its answer.
func (t *trap) calls(to *member) (there, back func([]byte) error) {
	stores := false
	there = func(b []byte) error {
		req := new(pb.SyncRequest)
		if !readFrame(b, req) {
			return nil
		}
		for _, k := range req.GetReserveNames().GetKeys() {
			if strings.Contains(k, t.name) {
				t.mu.Lock()
				t.confirmer = to
				t.mu.Unlock()
			}
		}
		for _, f := range req.GetStoreFacts().GetFacts() {
			stores = stores || strings.Contains(f.GetKey(), t.name)
		}
		if stores {
			return t.reach(isUnsent, t.writer)
		}
		return nil
	}
	back = func(b []byte) error {
		reply := new(pb.SyncReply)
		if !stores || !readFrame(b, reply) || reply.GetStored() == nil {
			return nil
		}
		if err := t.reach(isPromised, to); err != nil {
			return err
		}
		t.mu.Lock()
		t.confirmed = true
		t.mu.Unlock()
		return nil
	}
	return there, back
}

// readFrame reads the one message that a write has; false if it has none.
func readFrame(b []byte, m proto.Message) bool { return proto.Unmarshal(frame(&b), m) == nil }
