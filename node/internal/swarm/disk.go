package swarm

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/node/internal/scheduler"
	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// retryAfter is how long the disk is left alone after a failed write.
	retryAfter = 3 * time.Second
	// reopenAfter is how long a fault lasts, but for a full disk, before the run
	// ends with it: where a disk was away, what was opened before stays dead.
	reopenAfter = 15 * time.Second
	// hungAfter is how long writes may be under way and none end: a slow card
	// takes as long for a sync, after which many end at once.
	hungAfter = 30 * time.Second
	// writeBytes is how much of one download is being written at once, by
	// writeSlots at most: a disk that hangs keeps no more than that of memory.
	writeBytes = 4 << 20
	writeSlots = 4
)

// disk is the loop's side of the writes of one download, and remembers faults.
// What one download waits for here holds up no other: they share the workers,
// which no write keeps, and not the slots; and what is being written to a disk
// that does not answer is memory beyond that which they share.
//
// The piece whose write failed first is kept and written again until that
// works; the download is paused so long. Others that fail meanwhile are thrown
// away: they were on their way already, and keeping them would hold memory that
// other downloads may use. A disk that does not answer is a fault too.
type disk struct {
	probe  *write
	trying bool
	next   time.Time
	since  time.Time // of the fault

	slots  chan struct{} // held by writes under way
	out    map[*write]struct{}
	moved  time.Time     // when a write ended last, or none was seen under way
	isHung bool          // no write has ended for hungAfter
	hung   chan struct{} // closed while isHung, which ends the waiting for slots
}

func newDisk(pieceLength int64) disk {
	writes := min(max(writeBytes/pieceLength, 1), writeSlots)
	return disk{slots: make(chan struct{}, writes), out: map[*write]struct{}{}, hung: make(chan struct{})}
}

// isFaulty reports whether the download waits for its disk.
func (d *disk) isFaulty() bool { return d.probe != nil || d.isHung }

// write is a piece on its way to the disk: verified, waiting for a slot, or
// stored. Whoever has it has the buffer too.
type write struct {
	from    Peer
	piece   int
	data    *piece.Buffer
	storing atomic.Bool // the file has it
}

// begin verifies and stores a piece; written tells of the end. The goroutines
// that wait for a worker or a slot are as many as pieces in flight at most.
func (l *loop) begin(ctx context.Context, w *write) {
	d := &l.disk
	d.out[w] = struct{}{}
	l.owed++
	slots, hung := d.slots, d.hung
	go func() {
		m := written{write: w}
		m.aborted = !l.cfg.Shared.work(ctx, func() { m.verdict = l.cfg.File.Verify(w.piece, w.data.B) })
		switch {
		case m.aborted:
		case m.verdict == filestore.Good:
			l.store(ctx, &m, slots, hung)
		case m.verdict != filestore.Corrupt && m.verdict != filestore.Inconsistent:
			m.err = protocol.Errorf(protocol.CodeInternal, "piece %d was neither good nor bad", w.piece)
		}
		if !m.keepsData() {
			w.data.Release()
		}
		l.post(m)
	}()
}

// store writes a verified piece when a slot is free, unless the disk hangs.
func (l *loop) store(ctx context.Context, m *written, slots chan struct{}, hung <-chan struct{}) {
	select {
	case slots <- struct{}{}:
	default:
		select {
		case slots <- struct{}{}:
		case <-hung:
			m.unstored = true
			return
		case <-ctx.Done():
			m.aborted = true
			return
		}
	}
	m.write.storing.Store(true)
	m.err = l.cfg.File.Store(m.write.piece, m.write.data.B)
	m.write.storing.Store(false)
	m.stored = true
	<-slots
}

// fault tells of a write that failed here.
func (l *loop) fault(ctx context.Context, w *write, err error) {
	d := &l.disk
	l.dirty = true
	if d.probe != nil && d.probe != w {
		w.data.Release()
		l.step(ctx, scheduler.PieceUnsaved{Piece: w.piece})
		return
	}
	now, code := time.Now(), protocol.CodeOf(err)
	if d.probe == nil {
		log.Errorw("piece cannot be stored, paused", "file", l.manifest.Name, "piece", w.piece, "err", err)
		d.since = now
	}
	d.probe, d.trying, d.next = w, false, now.Add(retryAfter)
	l.step(ctx, scheduler.Paused{Code: code, Message: err.Error()})
	if (code == protocol.CodeState || code == protocol.CodePerm) && now.Sub(d.since) >= reopenAfter {
		l.over, l.err = true, err
	}
}

// retryWrite tries the kept piece again when its time has come.
func (l *loop) retryWrite(ctx context.Context, now time.Time) {
	d := &l.disk
	if d.probe == nil || d.trying || d.isHung || now.Before(d.next) {
		return
	}
	d.trying = true
	l.begin(ctx, d.probe)
}

// recovered goes on after the kept piece could be written.
func (l *loop) recovered(ctx context.Context, w *write) {
	if l.disk.probe != w {
		return
	}
	l.disk.probe, l.disk.trying = nil, false
	l.goOn(ctx)
}

func (l *loop) goOn(ctx context.Context) {
	log.Infow("pieces can be stored again", "file", l.manifest.Name)
	l.roster.changed = true
	l.step(ctx, scheduler.Resumed{})
}

// watchDisk pauses the download when its disk does not answer: a write is under
// way, whose end will be told. What waits for a slot is thrown away, and what is
// written is no longer counted as memory of all.
func (l *loop) watchDisk(ctx context.Context, now time.Time) {
	d := &l.disk
	switch {
	case d.isHung:
	case len(d.slots) == 0:
		d.moved = now
		return
	case now.Sub(d.moved) < hungAfter:
		return
	default:
		log.Errorw("the disk does not answer, paused", "file", l.manifest.Name, "pieces", len(d.slots))
		d.isHung = true
		close(d.hung)
		l.step(ctx, scheduler.Paused{
			Code:    protocol.CodeState,
			Message: "the disk that this download goes to does not answer; the download goes on when it does",
		})
	}
	for w := range d.out {
		if w.storing.Load() {
			w.data.Forfeit()
		}
	}
}

// unstored is for a piece that waited for a slot when the disk ceased to answer.
func (l *loop) unstored(ctx context.Context, w *write) {
	if d := &l.disk; d.probe == w {
		d.trying = false
		return
	}
	w.data.Release()
	l.step(ctx, scheduler.PieceUnsaved{Piece: w.piece})
}

// answered tells of a write that has ended, well or not.
func (l *loop) answered(ctx context.Context) {
	d := &l.disk
	d.moved = time.Now()
	if !d.isHung {
		return
	}
	d.isHung, d.hung = false, make(chan struct{})
	if d.probe == nil {
		l.goOn(ctx)
	}
}

// drop gives the kept piece back, unless a write has it.
func (d *disk) drop() {
	if d.probe != nil && !d.trying {
		d.probe.data.Release()
	}
	d.probe = nil
}
