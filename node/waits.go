package node

import (
	"context"
	"errors"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// faultPace is how often is looked whether a fault has passed.
	faultPace = 5 * time.Second
	// longestPace is the same where each look costs others: see patience.
	longestPace = 10 * time.Minute
)

// patience is how long a download waits before it tries again. Each try on a disk
// that takes no writes makes members send pieces which are thrown away, so these
// become rarer as long as nothing is kept.
type patience struct {
	pace time.Duration
	kept int64
}

// next returns how long to wait now: after a try that fetched, and with so many
// bytes that are kept.
func (p *patience) next(fetched bool, kept int64) time.Duration {
	if !fetched || kept > p.kept {
		p.pace = 0
	}
	p.kept = kept
	p.pace = min(max(2*p.pace, faultPace), longestPace)
	return p.pace
}

// passingError is a fault that ends no download: it may pass, or the user may
// mend it, and until then the download waits and says why.
type passingError struct {
	error
	// counts is set where too many of them end the download all the same.
	counts bool
	// fetched is set where pieces came and the disk did not take them.
	fetched bool
}

func (e *passingError) Unwrap() error { return e.error }

// unasked judges why the description of a file could not be had. What a tracker
// says of the file and its group is final, as is a description that is wrong.
func unasked(err error) error {
	switch code := protocol.CodeOf(err); code {
	case protocol.CodeState, protocol.CodePerm, protocol.CodeSession, protocol.CodeTrackerID, protocol.CodeTrackerNew, protocol.CodeInternal:
		return &passingError{error: err}
	default:
		if code.LaterHelps() {
			return &passingError{error: err}
		}
		return err
	}
}

// local judges a fault of this machine's disk: the folder may be on one that is
// not there yet. Who has just named a folder is told at once that it is no good,
// unless the disk is full.
func (d *Download) local(err error) error {
	d.mu.Lock()
	begun := d.begun
	d.mu.Unlock()
	switch code := protocol.CodeOf(err); code {
	case "", protocol.CodeTargetExists, protocol.CodeName, protocol.CodeLimit, protocol.CodeBadManifest:
		return err
	default:
		if !begun && code != protocol.CodeDiskFull {
			return err
		}
		return &passingError{error: err}
	}
}

// finishing is local for the end of a download. The partial file may be gone by
// then, and everything be fetched again: not for ever.
func (d *Download) finishing(err error) error {
	err = d.local(err)
	if p, ok := errors.AsType[*passingError](err); ok {
		p.counts = protocol.CodeOf(err) == protocol.CodeState
	}
	return err
}

// pause waits until a fault is worth another look.
func (d *Download) pause(ctx context.Context, why error) error {
	return d.pauseFor(ctx, why, faultPace)
}

func (d *Download) pauseFor(ctx context.Context, why error, pace time.Duration) error {
	d.change(func() { d.waits = why })
	defer d.change(func() { d.waits = nil })
	select {
	case <-time.After(pace):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// insist does what may find the disk full or faulty, until that works.
func (d *Download) insist(ctx context.Context, f func() error) error {
	for {
		err := f()
		switch protocol.CodeOf(err) {
		case protocol.CodeDiskFull, protocol.CodeState, protocol.CodePerm:
			if err := d.pause(ctx, err); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// preparation is what a download does before anything is fetched.
type preparation struct {
	what  string
	since time.Time
}

// takes reports whether it takes so long that it is worth showing.
func (p preparation) takes() bool { return p.what != "" && time.Since(p.since) >= time.Second }
