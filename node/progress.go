package node

import (
	"context"
	"iter"
	"path/filepath"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

// State is where a download stands.
type State string

// The states.
const (
	Preparing   State = "preparing" // Message says what is done before anything is fetched
	Downloading State = "downloading"
	Waiting     State = "waiting"
	Paused      State = "paused"
	Complete    State = "complete"
	Failed      State = "failed"
)

// Progress is a snapshot of a download.
type Progress struct {
	Group, Name string
	State       State
	Reason      protocol.Code // why it waits, or failed
	Message     string        // the same for a person
	Done, Total int64         // verified bytes, bytes of the file
	Rate        float64       // bytes per second
	Peers       int
	ETA         time.Duration // zero if not known
}

// Result is a finished download.
type Result struct {
	Group, Name, Path string
	Size              int64
	SHA1              protocol.SHA1
	ID                protocol.FileID
	Took              time.Duration // in this process
	Wasted            int64
	Peers             []PeerShare
}

// PeerShare is what one peer gave.
type PeerShare struct {
	Peer, User string
	Pieces     int
}

// Progress returns the latest snapshot without waiting.
func (d *Download) Progress() Progress {
	online := d.account.node.online.Load()
	group := d.account.groupName(d.key.group, d.record().GroupNm)
	d.mu.Lock()
	defer d.mu.Unlock()
	p := Progress{Group: protocol.Printable(group), Name: protocol.Printable(d.rec.Name), Total: d.rec.Size, State: Downloading}
	switch d.rec.State {
	case recComplete:
		p.State, p.Done = Complete, p.Total
		return p
	case recFailed:
		p.State, p.Reason, p.Message, p.Done = Failed, d.rec.Code, d.rec.Reason, d.latest.Done
		return p
	}
	l := d.latest
	if d.rec.State == recPaused {
		p.State, p.Done = Paused, l.Done
		return p
	}
	p.Done, p.Rate, p.Peers, p.ETA = l.Done, l.Rate, l.Peers, l.ETA
	p.Reason, p.Message = l.Reason, l.Message
	switch {
	case d.waits != nil:
		p.Reason, p.Message = protocol.CodeOf(d.waits), d.waits.Error()
	case d.prepares.takes():
		p.State, p.Reason, p.Message = Preparing, "", d.prepares.what
	case l.Reason == protocol.CodeNoSeeders && !online:
		p.Reason, p.Message = protocol.CodeNoTracker, "no tracker reachable that could tell who has this file; the download goes on by itself"
	case l.Reason == protocol.CodeNoSeeders && !d.asked && len(d.known) == 0:
		p.Message = "asking a tracker who has this file; progress is kept"
	}
	if p.Reason != "" {
		p.State = Waiting
	}
	return p
}

// Updates yields snapshots until the download ends or the loop is left. A slow
// reader sees the latest only.
func (d *Download) Updates() iter.Seq[Progress] {
	return func(yield func(Progress) bool) {
		for {
			d.mu.Lock()
			news := d.news
			d.mu.Unlock()
			if !yield(d.Progress()) {
				return
			}
			select {
			case <-d.ended:
				yield(d.Progress())
				return
			default:
			}
			select {
			case <-news:
			case <-d.ended:
			}
		}
	}
}

// Wait returns the outcome. Giving up by the context does not end the download.
func (d *Download) Wait(ctx context.Context) (Result, error) {
	select {
	case <-d.ended:
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.result, d.err
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// Done is closed when the download has ended.
func (d *Download) Done() <-chan struct{} { return d.ended }

// Dir is the folder that the file goes to.
func (d *Download) Dir() string { return filepath.Clean(d.record().Target.Dir) }
