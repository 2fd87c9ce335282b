package replica_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// clockOffset is a wall clock that is off and can be set.
type clockOffset struct {
	mu  sync.Mutex
	off time.Duration
}

func (c *clockOffset) set(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = d
}

func (c *clockOffset) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.off)
}

// faulty is a store that can be made to refuse commits.
type faulty struct {
	store.Store
	mu   sync.Mutex
	full bool
	no   int // commits refused
}

func (f *faulty) set(full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.full = full
}

func (f *faulty) refusals() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.no
}

func (f *faulty) Commit(b store.Batch) error {
	f.mu.Lock()
	full := f.full
	if full {
		f.no++
	}
	f.mu.Unlock()
	if full {
		return errNoSpace
	}
	return f.Store.Commit(b)
}

// hanging is a store whose commits wait while the lock is held.
type hanging struct {
	store.Store
	mu    sync.Mutex
	begun atomic.Int32 // commits
}

func (h *hanging) Commit(b store.Batch) error {
	h.begun.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.Store.Commit(b)
}

// fakePresence is a table of leases in a few lines.
type fakePresence struct {
	mu     sync.Mutex
	local  *pb.PresenceList
	others map[string]*pb.PresenceList
	pulls  int
}

func newPresence(epoch uint64) *fakePresence {
	return &fakePresence{local: &pb.PresenceList{Epoch: epoch}, others: map[string]*pb.PresenceList{}}
}

func (p *fakePresence) Local() *pb.PresenceList {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &pb.PresenceList{Epoch: p.local.Epoch, Version: p.local.Version, Leases: slices.Clone(p.local.Leases)}
}

func (p *fakePresence) Version() (uint64, uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.local.Epoch, p.local.Version
}

func (p *fakePresence) Apply(from string, list *pb.PresenceList) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.others[from] = list
	p.pulls++
}

func (p *fakePresence) ApplyDelta(from string, d *pb.PresenceDelta) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.others[from]
	if known == nil || known.Epoch != d.Epoch || known.Version != d.From {
		return false
	}
	p.others[from] = &pb.PresenceList{Epoch: d.Epoch, Version: d.To, Leases: append(slices.Clone(known.Leases), d.Leases...)}
	return true
}

func (p *fakePresence) Known(from string) (uint64, uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.others[from].GetEpoch(), p.others[from].GetVersion()
}

// This table keeps no deltas: whole lists travel.
func (p *fakePresence) Missed(uint64, uint64) ([]*pb.PresenceDelta, bool) { return nil, false }
func (p *fakePresence) CatchUp(string, uint64, []*pb.PresenceDelta) bool  { return false }
func (p *fakePresence) Held(string) (uint64, uint64)                      { return 0, 0 }

func (p *fakePresence) of(from string) *pb.PresenceList {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.others[from]
}

// add makes a change and returns it as the delta to spread.
func (p *fakePresence) add(leases ...*pb.Lease) *pb.PresenceDelta {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := &pb.PresenceDelta{Epoch: p.local.Epoch, From: p.local.Version, To: p.local.Version + 1, Leases: leases}
	p.local.Version++
	p.local.Leases = append(p.local.Leases, leases...)
	return d
}
