package node

import (
	"context"
	"errors"
	"io/fs"
	"math/bits"
	"os"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

// Causes with which the user ends a stretch of a transfer.
var (
	errPaused    = protocol.Errorf(protocol.CodeBusy, "the download is paused")
	errCancelled = protocol.Errorf(protocol.CodeNotFound, "the download was cancelled; its partial data is removed")
)

// Pause stops the transfer, and the serving of what it has, until Resume, also
// across restarts. It returns when nothing is fetched any more; pausing twice is
// harmless. E_NOT_FOUND if the download has ended.
func (d *Download) Pause(ctx context.Context) error {
	err := d.pauseNow(ctx)
	d.did("pause_download", err)
	return err
}

func (d *Download) pauseNow(ctx context.Context) error {
	var stop context.CancelCauseFunc
	var err error
	d.change(func() {
		switch {
		case d.cancelled:
			err = errCancelled
		case d.rec.State == recActive:
			d.rec.State = recPaused
			stop = d.stop
		case d.rec.State == recPaused:
		default:
			err = notUnderWay(d.rec)
		}
	})
	if err != nil {
		return err
	}
	if stop != nil {
		stop(errPaused)
	}
	if err := errors.Join(d.save(), d.until(ctx, func() bool { return d.stop == nil })); err != nil {
		return err
	}
	if r := d.record(); r.State == recComplete { // it was through before it could be stopped
		return notUnderWay(r)
	}
	return nil
}

// Resume lets a paused download go on; for one that is under way it does
// nothing. E_NOT_FOUND if the download has ended.
func (d *Download) Resume() error {
	err := d.resumeNow()
	d.did("resume_download", err)
	return err
}

func (d *Download) resumeNow() error {
	var err error
	d.change(func() {
		switch {
		case d.cancelled:
			err = errCancelled
		case d.rec.State == recPaused:
			d.rec.State = recActive
		case d.rec.State == recActive:
		default:
			err = notUnderWay(d.rec)
		}
	})
	if err != nil {
		return err
	}
	return d.save()
}

// Cancel ends the download, removes its partial data and forgets it; Wait
// returns E_NOT_FOUND then. E_NOT_FOUND for a complete download, and for one that
// failed and was begun anew since: its data are another's now.
func (d *Download) Cancel(ctx context.Context) error {
	err := d.cancelNow(ctx)
	d.did("cancel_download", err)
	return err
}

func (d *Download) cancelNow(ctx context.Context) error {
	if now := d.account.download(d.key); now != nil && now != d {
		return protocol.Errorf(protocol.CodeNotFound, "the download of %s was begun anew since; cancel that one", protocol.Quote(d.record().Name))
	}
	var stop context.CancelCauseFunc
	var err error
	d.change(func() {
		if d.rec.State == recComplete {
			err = notUnderWay(d.rec)
			return
		}
		d.cancelled, stop = true, d.stop
	})
	if err != nil {
		return err
	}
	if stop != nil {
		stop(errCancelled)
	}
	select {
	case <-d.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	return d.forget() // if it could not be forgotten at its end
}

// notUnderWay is the error for a download that has ended.
func notUnderWay(r records.Download) error {
	name := protocol.Quote(r.Name)
	if r.State == recFailed {
		return protocol.Errorf(protocol.CodeNotFound, "the download of %s has failed: %s; download_file starts it again", name, r.Reason)
	}
	return protocol.Errorf(protocol.CodeNotFound, "the download of %s is complete", name)
}

func (d *Download) did(kind string, err error) {
	p := d.Progress()
	d.account.node.did(Event{Kind: kind, Group: p.Group, File: p.Name, Text: outcome(err)})
}

// until waits for a condition, which is looked at with mu held.
func (d *Download) until(ctx context.Context, ok func() bool) error {
	for {
		d.mu.Lock()
		done, news := ok(), d.news
		d.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ready waits while the download is paused. It returns why the transfer must
// not go on, if it must not.
func (d *Download) ready() error {
	err := d.until(d.account.ctx, func() bool {
		return d.rec.State == recActive || d.cancelled || d.revoked != nil
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.cancelled:
		return errCancelled
	case d.revoked != nil:
		return d.revoked
	case err != nil:
		return context.Cause(d.account.ctx)
	}
	return nil
}

// begin makes stop end the stretch of the transfer that begins now, at once if
// the user or the group was faster.
func (d *Download) begin(stop context.CancelCauseFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stop = stop
	switch {
	case d.cancelled:
		stop(errCancelled)
	case d.revoked != nil:
		stop(d.revoked)
	case d.rec.State == recPaused:
		stop(errPaused)
	}
}

// onDisk counts the bytes that the journal has of a download which does not run.
func (d *Download) onDisk() int64 {
	n, r := d.account.node, d.record()
	field, err := n.records.Journal(r.User, r.Group, r.File).Load()
	if err != nil {
		return 0 // what is on disk is looked at when it goes on
	}
	m, err := n.storedManifest(r.File)
	if err != nil {
		return 0
	}
	var done int64
	for i, b := range field {
		for ; b != 0; b &= b - 1 {
			if at := 8*i + 7 - bits.TrailingZeros8(b); at < len(m.Pieces) {
				done += m.PieceSize(at)
			}
		}
	}
	return done
}

// removeData removes what a download that is not complete has on disk: its
// partial file, which may have the final name still if it was found spoiled.
func removeData(r records.Download) error {
	if r.Unchecked != (filestore.Stamp{}) {
		if err := filestore.TakeBack(r.Target, r.Unchecked); err != nil && protocol.CodeOf(err) != protocol.CodeNotFound {
			return err
		}
	}
	return removePart(r.Target)
}

// removePart removes the partial file of a download; it may be gone already.
func removePart(t filestore.Target) error {
	if t.Part == "" {
		return nil
	}
	root, err := os.OpenRoot(t.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = root.Remove(t.Part)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		err = errors.Join(err, root.Close())
	}
	if err != nil {
		return filestore.LocalFault(err, "removing the partial file of", t.Path())
	}
	return nil
}
