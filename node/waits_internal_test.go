package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

func passes(err error) bool {
	_, ok := err.(*passingError) //nolint:errorlint // it is made just before
	return ok
}

func TestWhatPasses(t *testing.T) {
	for _, tt := range []struct {
		code                  protocol.Code
		unasked, begun, fresh bool
	}{
		{protocol.CodeNoTracker, true, true, false},
		{protocol.CodeBusy, true, true, false},
		{protocol.CodeRate, true, true, false},
		{protocol.CodeDiskFull, true, true, true},
		{protocol.CodeState, true, true, false},
		{protocol.CodePerm, true, true, false},
		{protocol.CodeLocked, false, true, false},
		{protocol.CodeNotFound, false, true, false},
		{protocol.CodeNotMember, false, true, false},
		{protocol.CodeTargetExists, false, false, false},
		{protocol.CodeBadManifest, false, false, false},
		{protocol.CodeName, false, false, false},
	} {
		err := protocol.Errorf(tt.code, "so it is")
		begun, fresh := newDownload(nil, records.Download{}), newDownload(nil, records.Download{})
		begun.begun = true
		if got := passes(unasked(err)); got != tt.unasked {
			t.Errorf("%s of the description passes: %v, want %v", tt.code, got, tt.unasked)
		}
		if got := passes(begun.local(err)); got != tt.begun {
			t.Errorf("%s of the disk passes: %v, want %v", tt.code, got, tt.begun)
		}
		if got := passes(fresh.local(err)); got != tt.fresh {
			t.Errorf("%s of a folder just named passes: %v, want %v", tt.code, got, tt.fresh)
		}
	}
}

// failing is a file that cannot be finished.
type failing struct{ code protocol.Code }

func (f failing) Finish(context.Context) (string, filestore.Stamp, []int, error) {
	return "", filestore.Stamp{}, nil, protocol.Errorf(f.code, "no")
}

// Faults at the end of a download are waited for; those that may cost the whole
// file again are counted.
func TestFaultsAtTheEnd(t *testing.T) {
	for code, counts := range map[protocol.Code]bool{protocol.CodePerm: false, protocol.CodeNotFound: false, protocol.CodeState: true} {
		d := newDownload(nil, records.Download{Repairs: 1})
		_, _, err := d.fill(t.Context(), failing{code}, func() error { return nil })
		if p, ok := err.(*passingError); !ok || p.counts != counts || protocol.CodeOf(err) != code { //nolint:errorlint // as fill made it
			t.Errorf("%s: got %#v, want it to pass, and be counted: %v", code, err, counts)
		}
	}
}

// What is to be recorded waits until the disk takes it, and says so meanwhile.
func TestInsist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDownload(nil, records.Download{State: recActive})
		began, n := time.Now(), 0
		err := d.insist(t.Context(), func() error {
			switch n++; n {
			case 1:
				return protocol.Errorf(protocol.CodeState, "a fault")
			case 2:
				return protocol.ErrDiskFull
			default:
				return nil
			}
		})
		if err != nil || n != 3 || time.Since(began) != 2*faultPace {
			t.Errorf("%d tries in %v, %v", n, time.Since(began), err)
		}
	})
}

// What takes long before anything is fetched is shown, with what is found.
func TestPreparationIsShown(t *testing.T) {
	a, rec := recorded(t)
	d := newDownload(a, rec)
	d.latest.Done = 5
	d.prepares = preparation{what: "looking", since: time.Now().Add(-time.Minute)}
	if p := d.Progress(); p.State != Preparing || p.Message != "looking" || p.Reason != "" || p.Done != 5 {
		t.Errorf("got %+v", p)
	}
	d.prepares.since = time.Now().Add(time.Hour) // it has just begun
	if p := d.Progress(); p.State != Downloading || p.Message != "" {
		t.Errorf("at once: %+v", p)
	}
	d.waits = protocol.ErrDiskFull
	if p := d.Progress(); p.State != Waiting || p.Reason != protocol.CodeDiskFull {
		t.Errorf("what it waits for comes first: %+v", p)
	}
}

// What a disk does not take is fetched ever more seldom, and at once again when
// the disk has kept something, or could not be tried.
func TestPatience(t *testing.T) {
	d := newDownload(nil, records.Download{Repairs: 1})
	_, _, err := d.fill(t.Context(), failing{}, func() error { return protocol.Errorf(protocol.CodeState, "it takes nothing") })
	if p, ok := err.(*passingError); !ok || !p.fetched || p.counts { //nolint:errorlint // as fill made it
		t.Fatalf("a swarm that the disk has ended: %#v", err)
	}
	var p patience
	for i, tt := range []struct {
		fetched bool
		kept    int64
		want    time.Duration
	}{
		{true, 0, faultPace},
		{true, 0, 2 * faultPace},
		{true, 0, 4 * faultPace},
		{true, 7, faultPace},
		{true, 7, 2 * faultPace},
		{false, 7, faultPace},
		{false, 7, faultPace},
		{true, 7, 2 * faultPace},
	} {
		if got := p.next(tt.fetched, tt.kept); got != tt.want {
			t.Errorf("wait %d is %v, want %v", i, got, tt.want)
		}
	}
	for range 20 {
		p.next(true, 7)
	}
	if got := p.next(true, 7); got != longestPace {
		t.Errorf("the longest wait is %v", got)
	}
}
