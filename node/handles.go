package node

import (
	"context"
	"os"

	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

// record runs f while nobody else records a share or a download, or makes
// another one the one that counts. What the records and the disk hold of a share
// or a download belongs to the one in shares or downloads; what has been replaced
// must not touch it.
func (a *account) record(f func() error) error {
	a.recording <- struct{}{}
	defer func() { <-a.recording }()
	return f()
}

// save records the download as it is now, unless another handle has taken its
// place.
func (d *Download) save() error {
	a := d.account
	return a.record(func() error {
		if a.download(d.key) != d {
			return nil
		}
		return a.node.records.PutDownload(d.record())
	})
}

// forget removes the partial data and then the record of a download that has
// ended, unless another handle has taken its place. Its disk may take its time:
// only those wait for it who begin the same download anew.
func (d *Download) forget() error {
	d.removing <- struct{}{}
	defer func() { <-d.removing }()
	var r records.Download
	owns := false
	err := d.account.record(func() error {
		r = d.record()
		if owns = d.account.download(d.key) == d; owns && r.State == recComplete {
			return notUnderWay(r) // it was through before it could be stopped
		}
		return nil
	})
	if err != nil || !owns {
		return err
	}
	if err := d.account.remove(r); err != nil {
		return err
	}
	return d.forgetRecord()
}

// forgetRecord is the rest of forget.
func (d *Download) forgetRecord() error {
	a, r := d.account, d.record()
	return a.record(func() error {
		if a.download(d.key) != d {
			return nil
		}
		if err := a.node.records.DeleteDownload(r.User, r.Group, r.File); err != nil {
			return err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.downloads, d.key)
		return nil
	})
}

// dying returns the download of a file that is cancelled and has not ended yet,
// or whose data are being removed: see gone.
func (a *account) dying(k fileKey) *Download {
	d := a.download(k)
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.cancelled {
		return nil
	}
	select {
	case <-d.ended:
	default:
		return d
	}
	if len(d.removing) > 0 {
		return d
	}
	return nil
}

// gone waits until a download that is dying is not any more.
func (d *Download) gone(ctx context.Context) error {
	select {
	case <-d.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case d.removing <- struct{}{}:
		<-d.removing
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// never ends a download that could not begin: somebody may have asked for the
// same meanwhile, and wait for it.
func (d *Download) never(why error) {
	d.change(func() {
		d.err = why
		d.rec.State, d.rec.Code, d.rec.Reason = recFailed, protocol.CodeOf(why), why.Error()
	})
	close(d.ended)
}

// dropOther forgets an ended download of the same file. What it has fetched is
// kept if the new one goes to the same folder, and else removed in the end: the
// disk may take its time, and nobody waits for it. Called by record.
func (a *account) dropOther(old *Download, r records.Download) error {
	if old == nil {
		return nil
	}
	o := old.record()
	if samePart(o, r) {
		return nil // the journal too: it is of the same partial file
	}
	if err := a.node.records.DeleteDownload(o.User, o.Group, o.File); err != nil {
		return err
	}
	if o.State != recComplete {
		a.spawn(func() { a.dropData(o) })
	}
	return nil
}

func samePart(x, y records.Download) bool {
	return x.Target.Dir == y.Target.Dir && x.Target.Part == y.Target.Part
}

// dropData removes the data of a download that is forgotten, unless another one
// has taken them up.
func (a *account) dropData(o records.Download) {
	_, _ = os.Stat(o.Target.Dir) // that may take long, and what follows takes none
	for _, d := range a.allDownloads() {
		if samePart(o, d.record()) {
			return
		}
	}
	if err := a.remove(o); err != nil {
		log.Infow("cannot remove the partial file of a failed download", "file", o.File, "err", err)
	}
}
