package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/node/internal/swarm"
	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// The states of a download in the records.
const (
	recActive   = "active"
	recPaused   = "paused"
	recComplete = "complete"
	recFailed   = "failed"
)

// Download is a handle on one transfer. Its methods are safe for concurrent use.
type Download struct {
	account *account
	key     fileKey
	ended   chan struct{} // closed when the transfer has ended, one way or the other
	find    chan struct{} // more peers are wanted
	// removing is held, by a value in it, by whoever removes the data.
	removing chan struct{}

	mu      sync.Mutex
	rec     records.Download
	stop    context.CancelCauseFunc // of the transfer; nil while it does not run
	revoked error                   // why it must not run (any more)
	// cancelled is set when the user wants it to end and be forgotten.
	cancelled bool
	begun     bool               // it had a partial file before: see local
	part      *filestore.Partial // while it grows
	swarm     *swarm.Swarm
	known     map[peer.ID]swarm.Peer // who offered the file
	asked     bool                   // a tracker has told who offers it
	latest    swarm.Progress
	waits     error       // what it waits for outside of the swarm
	prepares  preparation // what it does before it is fetched
	before    tally       // of swarms that ended
	result    Result
	err       error
	tries     int           // to make the tracker that holds the lease take the offer
	news      chan struct{} // closed and replaced at each change
}

func newDownload(a *account, r records.Download) *Download {
	d := &Download{
		account: a, key: fileKey{r.Group, r.File}, rec: r, begun: r.Repairs > 0,
		ended: make(chan struct{}), find: make(chan struct{}, 1), removing: make(chan struct{}, 1), news: make(chan struct{}),
		known: map[peer.ID]swarm.Peer{},
	}
	switch r.State {
	case recComplete:
		d.result = d.resultOf(r)
		close(d.ended)
	case recFailed:
		d.err = protocol.Errorf(r.Code, "%s", r.Reason)
		close(d.ended)
	}
	return d
}

func (d *Download) resultOf(r records.Download) Result {
	return Result{
		Group: protocol.Printable(r.GroupNm), Name: protocol.Printable(r.Name), Path: r.Path, Size: r.Size, SHA1: r.SHA1, ID: r.File,
	}
}

// unfinished reports whether the download is to run, now or when it is resumed.
func (d *Download) unfinished() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.cancelled && (d.rec.State == recActive || d.rec.State == recPaused)
}

func (d *Download) record() records.Download {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rec
}

// growing returns the partial file, nil when there is none (any more).
func (d *Download) growing() *filestore.Partial {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.part
}

// again allows the tries of a new push stream.
func (d *Download) again() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tries = 0
}

// tryAgain counts one of them, and returns how long to wait before it.
func (d *Download) tryAgain() (wait time.Duration, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tries++
	return time.Duration(d.tries) * time.Second, d.tries <= maxOfferTries
}

// changed wakes the readers of Updates.
func (d *Download) changed() { d.change(func() {}) }

func (d *Download) change(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
	close(d.news)
	d.news = make(chan struct{})
}

// Download fetches a file of a group; dest is a folder, a new file's path, or
// "" for the default. The context bounds the look-up; the transfer belongs to
// the handle. A download of the same file that is under way is returned, and
// goes on if it was paused.
// Errors: E_NOT_MEMBER, E_NOT_FOUND, E_TARGET_EXISTS, E_EXISTS, ...
func (n *Node) Download(ctx context.Context, group, name, dest string) (*Download, error) {
	a, err := n.current()
	if err != nil {
		return nil, err
	}
	d, err := a.fetch(ctx, group, name, dest)
	n.did(Event{Kind: "download_file", Group: protocol.Printable(group), File: protocol.Printable(name), Text: outcome(err)})
	return d, n.names.check(err, group, "")
}

func (a *account) fetch(ctx context.Context, group, name, dest string) (*Download, error) {
	n := a.node
	res, err := trackers.Call(ctx, n.trackers, rpc.FindFile, &pb.FindFileRequest{Group: n.names.group(group), Name: name})
	if err != nil {
		return nil, err
	}
	gid, err1 := protocol.IDFromBytes[protocol.GroupID](res.GetGroupId())
	fid, err2 := protocol.IDFromBytes[protocol.FileID](res.GetFile().GetId())
	if err := errors.Join(err1, err2); err != nil {
		return nil, protocol.Errorf(protocol.CodeInternal, "the tracker's answer names no file: %w", err)
	}
	n.names.sawGroup(res.GetGroup(), res.GetGroupId())
	k := fileKey{gid, fid}
	if d := a.download(k); d != nil && d.unfinished() {
		return d, d.resumeNow()
	}
	if path := a.wholeCopy(fid); path != "" {
		return nil, protocol.Errorf(protocol.CodeExists, "you have this file already: %s", path)
	}
	uploader := res.GetFile().GetUploader()
	if len(uploader) > maxShown {
		uploader = ""
	}
	m, err := a.manifest(ctx, k)
	if err != nil {
		return nil, accuse(err, uploader)
	}
	target, err := filestore.ResolveTarget(dest, n.cfg.downloads, m.Name, fid, n.host.ID().String())
	if err != nil {
		return nil, err
	}
	return a.startDownload(ctx, records.Download{
		User: a.user, Group: gid, GroupNm: res.GetGroup(), File: fid, Name: res.GetFile().GetName(), Uploader: uploader, Target: target,
		State: recActive, Size: m.Size, SHA1: m.SHA1, Added: n.cfg.now(),
	})
}

// accuse adds who shared a file to the error that its description is wrong.
func accuse(err error, uploader string) error {
	if protocol.CodeOf(err) != protocol.CodeBadManifest || uploader == "" {
		return err
	}
	return protocol.Errorf(protocol.CodeBadManifest, "%w (uploader: %s)", err, protocol.Quote(uploader))
}

// wholeCopy returns where this client has a file whole and unaltered.
func (a *account) wholeCopy(f protocol.FileID) string {
	for _, s := range a.allShares() {
		if r := s.record(); r.File == f && r.Withdrawn == "" && s.intact() == nil {
			return r.Path
		}
	}
	return ""
}

// manifest returns the description of a file from the records or a tracker,
// checked against the file's id.
func (a *account) manifest(ctx context.Context, k fileKey) (*protocol.Manifest, error) {
	n := a.node
	if m, err := n.storedManifest(k.file); err == nil {
		return m, nil
	}
	var encoded []byte
	err := n.trackers.DoLong(ctx, func(ctx context.Context, service rpc, moved func(bytes, between int)) (err error) {
		encoded, err = getManifest(ctx, service, k, moved)
		if err == nil && protocol.ManifestID(encoded) != k.file { // others have the right one
			err = protocol.Errorf(protocol.CodeNoTracker, "it sent the description of another file")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	m, err := protocol.DecodeManifest(encoded)
	if err != nil {
		return nil, err
	}
	return m, n.records.PutManifest(k.file, encoded)
}

// startDownload makes the handle, the record and the transfer. What is under
// way of the same file is returned; what is being cancelled is waited for.
func (a *account) startDownload(ctx context.Context, r records.Download) (d *Download, err error) {
	for {
		var dying *Download
		err = a.record(func() (err error) {
			if dying = a.dying(fileKey{r.Group, r.File}); dying == nil {
				d, err = a.place(r)
			}
			return err
		})
		if dying == nil {
			return d, err
		}
		if err := dying.gone(ctx); err != nil {
			return nil, err
		}
	}
}

// place is startDownload where nothing is being cancelled. Called by record.
func (a *account) place(r records.Download) (*Download, error) {
	n, k := a.node, fileKey{r.Group, r.File}
	d := newDownload(a, r)
	a.mu.Lock()
	old := a.downloads[k]
	for _, other := range a.downloads {
		if other.key == k || !other.unfinished() {
			continue
		}
		if err := clash(r, other.record()); err != nil {
			a.mu.Unlock()
			return nil, err
		}
	}
	if old != nil && old.unfinished() {
		a.mu.Unlock()
		return old, nil // somebody was faster
	}
	a.downloads[k] = d
	a.mu.Unlock()

	err := a.dropOther(old, r)
	if err == nil {
		err = n.records.PutDownload(r)
	}
	if err == nil && !a.spawn(d.run) {
		err = errLoggedOut
	}
	if err != nil {
		a.mu.Lock()
		delete(a.downloads, k)
		if old != nil {
			a.downloads[k] = old
		}
		a.mu.Unlock()
		d.never(err)
		return nil, err
	}
	return d, nil
}

// clash is why r cannot run beside o, a download of another file or group.
func clash(r, o records.Download) error {
	switch {
	case samePart(o, r):
		return protocol.Errorf(protocol.CodeExists, "the same file is on its way to %s from the group %s; wait for it, or name another folder", protocol.Printable(o.Target.Path()), protocol.Quote(o.GroupNm))
	case o.Target.Path() == r.Target.Path():
		return protocol.Errorf(protocol.CodeTargetExists, "%s is the destination of another download; name another one", protocol.Printable(r.Target.Path()))
	}
	return nil
}

// Downloads returns the downloads of the user in this data folder, oldest first.
func (n *Node) Downloads() ([]*Download, error) {
	a, err := n.current()
	if err != nil {
		return nil, err
	}
	all := a.allDownloads()
	slices.SortFunc(all, func(x, y *Download) int { return x.record().Added.Compare(y.record().Added) })
	return all, nil
}
