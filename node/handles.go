package node

import (
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

// forget removes the partial data and the record of a download that has ended,
// unless another handle has taken its place.
func (d *Download) forget() error {
	a := d.account
	return a.record(func() error {
		if a.download(d.key) != d {
			return nil
		}
		r := d.record()
		if r.State == recComplete { // it was through before it could be stopped
			return notUnderWay(r)
		}
		if err := removeData(r); err != nil {
			return err
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

// dying returns the download of a file that is cancelled and has not ended yet.
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
		return nil
	default:
		return d
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
// kept if the new one goes to the same folder.
func (a *account) dropOther(old *Download, r records.Download) error {
	if old == nil {
		return nil
	}
	o := old.record()
	if o.Target.Dir == r.Target.Dir && o.Target.Part == r.Target.Part {
		return nil // the journal too: it is of the same partial file
	}
	if o.State != recComplete {
		if err := removeData(o); err != nil {
			log.Infow("cannot remove the partial file of a failed download", "file", o.File, "err", err)
		}
	}
	return a.node.records.DeleteDownload(o.User, o.Group, o.File)
}
