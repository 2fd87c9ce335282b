package sim

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

var (
	errOff     = errors.New("the power is off")
	errNoSpace = errors.New("no space left on device")
)

// disk is what a tracker's restarts have in common: the commits that were
// synced, in order. One that is under way when the power goes is there whole or
// not at all, as the store promises.
type disk struct {
	rng *rand.Rand // of this disk alone, under mu

	mu       sync.Mutex
	log      []store.Batch
	underway *store.Batch
	life     int // restarts; a handle of an earlier one is dead
	full     bool
}

func newDisk(seed uint64) *disk { return &disk{rng: rand.New(rand.NewPCG(seed, 1))} }

// open is a restart.
func (d *disk) open() (*handle, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	mem, err := replay(d.log)
	return &handle{Mem: mem, d: d, life: d.life}, err
}

func replay(log []store.Batch) (*store.Mem, error) {
	mem := store.NewMem()
	for _, b := range log {
		if err := mem.Commit(b); err != nil {
			return nil, err
		}
	}
	return mem, nil
}

// crash turns the power off. Chance decides about the commit under way.
func (d *disk) crash() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.underway != nil && d.rng.IntN(2) == 0 {
		d.log = append(d.log, *d.underway)
	}
	d.underway = nil
	d.life++
}

// drop turns the power off and leaves nothing of the commit under way.
func (d *disk) drop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.underway = nil
	d.life++
}

// copied is what a copy of the disk made now would have.
func (d *disk) copied() []store.Batch {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.log)
}

// restore replaces the contents, while nothing has it open.
func (d *disk) restore(log []store.Batch) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = log
}

func (d *disk) setFull(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

// handle is the open store of one life of a tracker.
type handle struct {
	*store.Mem
	d    *disk
	life int
}

var _ store.Store = (*handle)(nil)

// Commit takes from 0.1 to 4 ms, as long as a sync does.
func (h *handle) Commit(b store.Batch) error {
	h.d.mu.Lock()
	if err := h.refuse(); err != nil {
		h.d.mu.Unlock()
		return err
	}
	h.d.underway = &b
	took := time.Duration(100+h.d.rng.IntN(3900)) * time.Microsecond
	h.d.mu.Unlock()
	time.Sleep(took)
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if err := h.refuse(); err != nil {
		return err
	}
	h.d.underway = nil
	if err := h.Mem.Commit(b); err != nil {
		return err
	}
	h.d.log = append(h.d.log, b)
	return nil
}

// refuse is called with the lock of the disk.
func (h *handle) refuse() error {
	switch {
	case h.life != h.d.life:
		return errOff
	case h.d.full:
		return errNoSpace
	}
	return nil
}

// holds reports which manifests a tracker has.
func (h *handle) holds(id protocol.FileID) bool {
	ok, err := h.HasBlob(id)
	return ok && err == nil
}
