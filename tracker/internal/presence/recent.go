package presence

import (
	"cmp"
	"slices"

	"github.com/p2pshare/p2pshare/protocol/pb"
)

// recentBytes bounds the deltas that are kept for those who miss some, as long as
// they are on the wire. A thousand clients that come with 20 files each take less.
const recentBytes = 2 << 20

// recent is the latest deltas of the own leases, each behind the one before. The
// zero value is ready; the table's lock guards it.
type recent struct {
	deltas []spreadDelta
	bytes  int
}

type spreadDelta struct {
	*pb.PresenceDelta
	bytes int
}

// add keeps a delta, and lets the oldest go where there are too many bytes of them.
func (r *recent) add(d *pb.PresenceDelta, bytes int) {
	r.deltas = append(r.deltas, spreadDelta{d, bytes})
	r.bytes += bytes
	for r.bytes > recentBytes {
		r.bytes -= r.deltas[0].bytes
		r.deltas[0] = spreadDelta{}
		r.deltas = r.deltas[1:]
	}
}

// since returns the deltas behind a version; false if some of them are kept no more.
func (r *recent) since(version uint64) ([]*pb.PresenceDelta, bool) {
	i, ok := slices.BinarySearchFunc(r.deltas, version, func(d spreadDelta, v uint64) int {
		return cmp.Compare(d.GetFrom(), v)
	})
	if !ok {
		return nil, false
	}
	out := make([]*pb.PresenceDelta, 0, len(r.deltas)-i)
	for _, d := range r.deltas[i:] {
		out = append(out, d.PresenceDelta)
	}
	return out, true
}

// Missed returns the deltas of this tracker's own leases behind a version; false
// if some are kept no more, or if the whole list has fewer entries.
func (t *Table) Missed(epoch, version uint64) ([]*pb.PresenceDelta, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if epoch != t.own.epoch || version > t.own.version {
		return nil, false
	}
	if version == t.own.version {
		return nil, true
	}
	deltas, ok := t.recent.since(version)
	if !ok || entries(deltas) > t.ownEntries() {
		return nil, false
	}
	return deltas, true
}

// entries counts leases, offers and withdrawals.
func entries(deltas []*pb.PresenceDelta) (n int) {
	for _, d := range deltas {
		for _, l := range d.GetLeases() {
			n += 1 + len(l.GetOffers()) + len(l.GetWithdrawn())
		}
	}
	return n
}

// ownEntries counts what the whole list has.
func (t *Table) ownEntries() (n int) {
	for _, l := range t.own.leases {
		n += 1 + len(l.Offers)
	}
	return n
}
