package node

import (
	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/protocol"
)

// check reads the finished file once more and compares it with the manifest.
// Every piece was verified before it was written, so what is wrong is the fault
// of this machine, or of a manifest that contradicts itself: both are rare, and a
// download does not wait to hear of them, which would take a fast one half as
// long again. Where pieces are wrong, the download begins anew with the others.
// The records owe the check until it is through: what a client that is closed
// or killed did not come to, the next one does.
func (d *Download) check() {
	a, r := d.account, d.record()
	switch {
	case r.Unchecked == (filestore.Stamp{}):
		return
	case r.State == recFailed: // by a check; its file has the final name still
		d.giveUp()
		return
	case r.State != recComplete:
		return
	}
	m, err := a.manifest(a.ctx, d.key)
	if err != nil {
		log.Infow("a finished download cannot be checked now", "file", d.key.file, "err", err)
		return
	}
	bad, err := filestore.CheckFinished(a.ctx, r.Target, m, ownJournal{a.node.records.Journal(r.User, r.Group, r.File), d}, r.Unchecked)
	switch code := protocol.CodeOf(err); {
	case a.ctx.Err() != nil, code == protocol.CodeNotFound:
		// There is no time for it, or the file is not ours any more.
	case err == nil && len(bad) == 0:
		d.change(func() { d.rec.Unchecked = filestore.Stamp{} })
		if err := d.save(); err != nil {
			log.Errorw("cannot record that a download was checked", "file", d.key.file, "err", err)
		}
	case err == nil && r.Repairs >= maxLosses:
		d.fail(lossy(r))
		d.giveUp()
	case err == nil:
		d.repair(len(bad))
	case code == protocol.CodeBadManifest:
		d.change(func() { d.rec.Unchecked = filestore.Stamp{} })
		d.fail(accuse(err, r.Uploader))
	default:
		log.Errorw("a finished download cannot be checked", "file", d.key.file, "err", err)
	}
}

// ownJournal is saved only while the handle is the one that counts.
type ownJournal struct {
	filestore.Journal
	of *Download
}

func (j ownJournal) Save(bits []byte) error {
	a := j.of.account
	return a.record(func() error {
		if a.download(j.of.key) != j.of {
			return notUnderWay(j.of.record())
		}
		return j.Journal.Save(bits)
	})
}

// repair begins the download anew. Once that is recorded, the file becomes a
// partial one again, by open; a crash before leaves the check to be done again.
func (d *Download) repair(bad int) {
	a := d.account
	d.refute(protocol.Errorf(protocol.CodeState, "%d pieces on disk were not what was written; they are fetched again", bad))
	r := d.record()
	r.State, r.Path = recActive, ""
	r.Repairs++
	err := d.insist(a.ctx, func() error {
		_, err := a.startDownload(a.ctx, r)
		return err
	})
	if err != nil {
		log.Errorw("a finished download cannot be repaired", "file", d.key.file, "err", err)
	}
}

// takeBack makes a finished file that was found spoiled a partial one again.
func (d *Download) takeBack() error {
	r := d.record()
	if r.Unchecked == (filestore.Stamp{}) {
		return nil
	}
	if err := filestore.TakeBack(r.Target, r.Unchecked); err != nil {
		return err
	}
	d.change(func() { d.rec.Unchecked = filestore.Stamp{} })
	return nil
}

// giveUp takes the final name from the file of a download that has failed.
func (d *Download) giveUp() {
	err := d.takeBack()
	if err == nil {
		err = d.save()
	}
	if err != nil {
		log.Errorw("a spoiled file keeps its name for now", "file", d.key.file, "err", err)
	}
}

// fail ends a download that was complete.
func (d *Download) fail(why error) {
	d.refute(why)
	d.change(func() {
		d.rec.State, d.rec.Path, d.rec.Code, d.rec.Reason = recFailed, "", protocol.CodeOf(why), why.Error()
	})
	if err := d.save(); err != nil {
		log.Errorw("cannot record that a download failed", "file", d.key.file, "err", err)
	}
}

// refute ends the share of a finished file that is not what it should be.
func (d *Download) refute(why error) {
	log.Errorw("a finished download is not what it should be", "file", d.key.file, "err", why)
	if s := d.account.share(d.key); s != nil {
		d.account.withdraw(why.Error(), s)
	}
}

// checkAll makes up for the checks that earlier runs of the client did not come
// to, one after the other.
func (a *account) checkAll(ended []*Download) {
	for _, d := range ended {
		if a.ctx.Err() == nil {
			d.check()
		}
	}
}
