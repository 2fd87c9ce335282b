package filestore

import (
	"sync/atomic"

	"github.com/dustin/go-humanize"

	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// spaceMargin is what a download leaves free on the disk, or 1 % of the file
	// if that is more.
	spaceMargin = 64 << 20
	// spacePace is how many bytes are written between two looks at the free
	// space, where it cannot be reserved.
	spacePace = 256 << 20
)

// room watches the free space of the disk that a partial file grows on.
type room struct {
	dir      string
	margin   int64
	free     func(dir string) (uint64, error)
	reserved bool // all of it is the file's already; set before the first write
	written  atomic.Int64
}

// check is E_DISK_FULL unless so many bytes fit besides the margin.
func (r *room) check(needed int64) error {
	free, err := r.free(r.dir)
	if err != nil {
		return err
	}
	if all := uint64(needed + r.margin); free < all {
		return protocol.Errorf(protocol.CodeDiskFull, "the disk is full: %s more needed in %s, with %s that a download leaves free",
			humanize.IBytes(all-free), shown(r.dir), humanize.IBytes(uint64(r.margin)))
	}
	return nil
}

// take checks before n bytes are written, now and then; after a refusal each time.
func (r *room) take(n int64) error {
	if r.reserved {
		return nil
	}
	if after := r.written.Add(n); after/spacePace == (after-n)/spacePace {
		return nil
	}
	err := r.check(n)
	if err != nil {
		r.written.Add(-n)
	}
	return err
}
