package replica

import (
	"sync"
	"time"
)

// calm is how long a disk must have taken everything to be called sound again:
// one that is nearly full takes some changes and refuses others.
const calm = 15 * time.Second

// Disk says that the store refuses changes, all or those that are large.
type Disk struct {
	Since time.Time // zero: it takes all
	Err   error     // why, the last time
}

// diskNote is what the writer notes of the store.
type diskNote struct {
	mu    sync.Mutex
	first time.Time // since when it refuses; zero: it does not
	last  time.Time // of the refusals
	err   error     // of that one
}

func (d *diskNote) refused(err error, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.first.IsZero() {
		d.first = now
	}
	d.last, d.err = now, err
}

// look ends the note if nothing was refused for long, unless it still is.
func (d *diskNote) look(still bool, now time.Time) Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.first.IsZero() || !still && now.Sub(d.last) > calm {
		d.first, d.err = time.Time{}, nil
	}
	return Disk{Since: d.first, Err: d.err}
}

// Disk returns whether the store refuses changes now, or has done so a moment ago.
func (r *Replica) Disk() Disk {
	now := time.Now()
	return r.writer.disk.look(r.writer.full.Load() || !r.blobs.hasRoom(now), now)
}
