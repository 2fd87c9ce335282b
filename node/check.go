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
func (d *Download) check() {
	a, r := d.account, d.record()
	m, err := a.manifest(a.ctx, d.key)
	var bad []int
	if err == nil {
		bad, err = filestore.CheckFinished(a.ctx, r.Target, m, a.node.records.Journal(r.User, r.Group, r.File))
	}
	switch code := protocol.CodeOf(err); {
	case a.ctx.Err() != nil, code == protocol.CodeNotFound:
		// There is no time for it, or the file is not ours any more.
	case err == nil && len(bad) > 0 && r.Repairs >= maxLosses:
		d.fail(lossy(r))
	case err == nil && len(bad) > 0:
		d.refute(protocol.Errorf(protocol.CodeState, "%d pieces on disk were not what was written; they are fetched again", len(bad)))
		r.State, r.Path = recActive, ""
		r.Repairs++
		if _, err := a.startDownload(r); err != nil {
			log.Errorw("a finished download cannot be repaired", "file", d.key.file, "err", err)
		}
	case code == protocol.CodeBadManifest:
		d.fail(err)
	case err != nil:
		log.Errorw("a finished download cannot be checked", "file", d.key.file, "err", err)
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
