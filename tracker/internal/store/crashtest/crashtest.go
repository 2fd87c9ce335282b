// Package crashtest is a store whose power can be cut, for tests.
//
// A Disk is a bbolt file together with what of it would survive: the file as it
// was after the last commit that returned. A commit of bbolt writes its pages,
// syncs, writes one meta page, syncs. When the power fails within a commit, the
// disk keeps, of the pages that the commit has changed, any sectors in
// any order (one of them half written) and no meta page; or all of them and a
// part of the meta page; or everything, but the caller is never told.
//
// What this cannot show: that bbolt syncs where it says it does (the order is
// read off its source, and the pages are compared, not the system calls), and
// drives that lose what they have said is safe.
package crashtest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// ErrNoPower is returned by every method of a Disk behind a cut.
var ErrNoPower = errors.New("no power")

const (
	// sector is what a drive writes whole or not at all, but for the one that it
	// is at when the power goes.
	sector = 512
	// metaPages is where the two meta pages of bbolt end, in pages.
	metaPages = 2
)

// Power supplies disks. Cutting it stops all of them at one moment.
type Power struct {
	mu   sync.Mutex
	rng  *rand.Rand
	off  bool
	left int // commits until the cut; negative: none is planned
	gone chan struct{}
}

// NewPower returns a supply that is on. The same seed tears the same way.
func NewPower(seed uint64) *Power {
	return &Power{rng: rand.New(rand.NewPCG(seed, 0)), left: -1, gone: make(chan struct{})}
}

// CutIn plans a cut within the n-th commit from now, of any disk; 1 is the next.
func (p *Power) CutIn(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = n
}

// Cut cuts now: within the commits that are under way, or between two.
func (p *Power) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
}

func (p *Power) cut() {
	if !p.off {
		p.off = true
		close(p.gone)
	}
}

// Gone is closed by the next cut.
func (p *Power) Gone() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

// restore switches on again.
func (p *Power) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off {
		p.off, p.left, p.gone = false, -1, make(chan struct{})
	}
}

func (p *Power) isOff() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.off
}

// Disk is a store.Store that loses what a power cut loses.
type Disk struct {
	path  string
	power *Power

	commits sync.Mutex // one at a time, as bbolt has it; held around what follows
	safe    []byte     // the file as the next power cut leaves it
	db      *store.Bolt
}

var _ store.Store = (*Disk)(nil)

// Open opens the bbolt file at path.
func Open(path string, power *Power) (*Disk, error) {
	d := &Disk{path: path, power: power}
	return d, d.open()
}

func (d *Disk) open() (err error) {
	if d.db, err = store.OpenBolt(d.path); err != nil {
		return err
	}
	d.safe, err = os.ReadFile(d.path)
	return err
}

// Restart leaves the file as the cut has left the disk, switches the power on
// and opens the file again. What runs on the disks must have ended.
func (d *Disk) Restart() error {
	d.commits.Lock()
	defer d.commits.Unlock()
	if err := d.db.Close(); err != nil {
		return err
	}
	if err := os.WriteFile(d.path, d.safe, 0o600); err != nil {
		return err
	}
	d.power.restore()
	return d.open()
}

// Commit implements store.Store. After a cut the caller has no answer, and what
// the disk keeps is for chance to say.
func (d *Disk) Commit(b store.Batch) error {
	d.commits.Lock()
	defer d.commits.Unlock()
	if d.power.isOff() {
		return ErrNoPower
	}
	if err := d.db.Commit(b); err != nil {
		return err
	}
	after, err := os.ReadFile(d.path)
	if err != nil {
		return fmt.Errorf("look at what was written: %w", err)
	}
	p := d.power
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left >= 0 && !p.off {
		if p.left--; p.left <= 0 {
			p.cut()
		}
	}
	if p.off {
		d.safe = tear(p.rng, d.safe, after)
		return ErrNoPower
	}
	d.safe = after
	return nil
}

// tear returns what a disk keeps of a commit that was cut somewhere.
func tear(rng *rand.Rand, before, after []byte) []byte {
	meta := metaPages * os.Getpagesize()
	kept := make([]byte, len(after))
	copy(kept, before)
	if rng.IntN(8) == 0 {
		return before // nothing has left the cache, not even the new size
	}
	if rng.IntN(3) == 0 {
		share := rng.IntN(101)
		some(rng, kept[meta:], after[meta:], share)
		return kept
	}
	copy(kept[meta:], after[meta:])
	if rng.IntN(3) == 0 {
		return append([]byte(nil), after...)
	}
	some(rng, kept[:meta], after[:meta], rng.IntN(101))
	return kept
}

// some takes over a share, in percent, of the sectors that differ, one of them
// up to somewhere in its middle.
func some(rng *rand.Rand, kept, after []byte, share int) {
	for at := 0; at < len(after); at += sector {
		end := min(at+sector, len(after))
		if bytes.Equal(kept[at:end], after[at:end]) {
			continue
		}
		switch {
		case rng.IntN(8) == 0:
			end = at + rng.IntN(end-at)
			copy(kept[at:end], after[at:end])
		case rng.IntN(100) < share:
			copy(kept[at:end], after[at:end])
		}
	}
}

// view returns the store for a read, while there is power.
func (d *Disk) view() (*store.Bolt, error) {
	if d.power.isOff() {
		return nil, ErrNoPower
	}
	return d.db, nil
}

// Records implements store.Store.
func (d *Disk) Records(f func(store.Record) error) error {
	db, err := d.view()
	if err != nil {
		return err
	}
	return db.Records(f)
}

// Blob implements store.Store.
func (d *Disk) Blob(id protocol.FileID) ([]byte, bool, error) {
	db, err := d.view()
	if err != nil {
		return nil, false, err
	}
	return db.Blob(id)
}

// BlobRange implements store.Store.
func (d *Disk) BlobRange(id protocol.FileID, offset int64, n int) (b []byte, size int64, ok bool, err error) {
	db, err := d.view()
	if err != nil {
		return nil, 0, false, err
	}
	return db.BlobRange(id, offset, n)
}

// HasBlob implements store.Store.
func (d *Disk) HasBlob(id protocol.FileID) (bool, error) {
	db, err := d.view()
	if err != nil {
		return false, err
	}
	return db.HasBlob(id)
}

// BlobIDs implements store.Store.
func (d *Disk) BlobIDs(f func(protocol.FileID) error) error {
	db, err := d.view()
	if err != nil {
		return err
	}
	return db.BlobIDs(f)
}

// Meta implements store.Store.
func (d *Disk) Meta(name string) ([]byte, error) {
	db, err := d.view()
	if err != nil {
		return nil, err
	}
	return db.Meta(name)
}

// Close implements store.Store.
func (d *Disk) Close() error {
	d.commits.Lock()
	defer d.commits.Unlock()
	return d.db.Close()
}
