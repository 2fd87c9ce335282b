package swarm

import (
	"context"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/scheduler"
	"github.com/p2pshare/p2pshare/protocol"
)

// retryAfter is how long the disk is left alone after a failed write.
const retryAfter = 3 * time.Second

// disk remembers a local fault. The piece whose write failed first is kept and
// written again until that works; the download is paused so long. Others that
// fail meanwhile are thrown away: they were on their way already, and keeping
// them would hold memory that other downloads may use.
type disk struct {
	probe  *write
	trying bool
	next   time.Time
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
	if d.probe == nil {
		log.Errorw("piece cannot be stored, paused", "file", l.manifest.Name, "piece", w.piece, "err", err)
	}
	d.probe, d.trying, d.next = w, false, time.Now().Add(retryAfter)
	l.step(ctx, scheduler.Paused{Code: protocol.CodeOf(err), Message: err.Error()})
}

// retryWrite tries the kept piece again when its time has come.
func (l *loop) retryWrite(ctx context.Context, now time.Time) {
	d := &l.disk
	if d.probe == nil || d.trying || now.Before(d.next) {
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
	log.Infow("pieces can be stored again", "file", l.manifest.Name)
	l.disk = disk{}
	l.roster.changed = true
	l.step(ctx, scheduler.Resumed{})
}

// drop gives the kept piece back, unless a worker has it.
func (d *disk) drop() {
	if d.probe != nil && !d.trying {
		d.probe.data.Release()
	}
	d.probe = nil
}
