package node

import (
	"context"
	"crypto/sha1"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/zeebo/blake3"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

func TestUntilLost(t *testing.T) {
	lost := make(chan struct{}, 1)
	lost <- struct{}{} // before it began
	wait := func(ctx context.Context) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if err := untilLost(t.Context(), lost, func(context.Context) error { return nil }); err != nil {
		t.Errorf("an old loss ends a new run: %v", err)
	}
	err := untilLost(t.Context(), lost, func(ctx context.Context) error {
		lost <- struct{}{}
		return wait(ctx)
	})
	if !errors.Is(err, errLost) {
		t.Errorf("got %v, want a loss", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errPaused)
	if err := untilLost(ctx, lost, wait); !errors.Is(err, errPaused) {
		t.Errorf("got %v, want the caller's reason", err)
	}
}

// losing is a file of which pieces are missing at the end so many times.
type losing struct{ times, finished int }

func (l *losing) Finish(context.Context) (string, filestore.Stamp, []int, error) {
	if l.finished++; l.finished <= l.times {
		return "", filestore.Stamp{}, []int{3}, nil
	}
	return "path", filestore.Stamp{}, nil, nil
}

// A disk that loses pieces again and again ends the download, and says so.
func TestFillEndsWhenTheDiskLosesAllTheTime(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name    string
		times   int // pieces are missing at the end
		fetches []error
		want    error
		code    protocol.Code
	}{
		{"no loss", 0, nil, nil, ""},
		{"as many as are borne", 2, []error{errLost, nil, errLost, errLost}, nil, ""},
		{"one more", 3, []error{errLost, nil, errLost, errLost}, nil, protocol.CodeState},
		{"without end", 1 << 30, nil, nil, protocol.CodeState},
		{"another fault", 0, []error{errLost, broken}, broken, protocol.CodeInternal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDownload(nil, records.Download{State: recActive})
			n := 0
			path, _, err := d.fill(t.Context(), &losing{times: tt.times}, func() error {
				if n++; n <= len(tt.fetches) {
					return tt.fetches[n-1]
				}
				return nil
			})
			if protocol.CodeOf(err) != tt.code || tt.want != nil && !errors.Is(err, tt.want) || (err == nil) != (path == "path") {
				t.Errorf("got %q, %v, want %v %s", path, err, tt.want, tt.code)
			}
		})
	}
}

// A download that was complete before, and spoiled, is not repaired for ever.
func TestRepairsAreBounded(t *testing.T) {
	r := testRecords(t)
	content := make([]byte, protocol.MinPieceLength)
	m := &protocol.Manifest{Name: "a", Size: int64(len(content)), PieceLength: protocol.MinPieceLength, SHA1: sha1.Sum(content)}
	m.Pieces = []protocol.PieceHash{{SHA1: sha1.Sum(content), BLAKE3: blake3.Sum256(content)}}
	if err := r.PutManifest(m.ID(), m.Encode()); err != nil {
		t.Fatal(err)
	}
	target, err := filestore.ResolveTarget(t.TempDir(), "", "a", m.ID(), "client")
	if err != nil {
		t.Fatal(err)
	}
	a := &account{node: &Node{records: r}, ctx: t.Context(), recording: make(chan struct{}, 1), downloads: map[fileKey]*Download{}}
	content[7] = 1
	if err := os.WriteFile(target.Path(), content, 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(target.Path())
	if err != nil {
		t.Fatal(err)
	}
	d := newDownload(a, records.Download{
		File: m.ID(), Name: "a", Target: target, Path: target.Path(), State: recComplete, Size: m.Size, Repairs: maxLosses,
		Unchecked: filestore.Stamp{Size: m.Size, ModTime: info.ModTime()},
	})
	a.downloads[d.key] = d
	d.check()
	rec := d.record()
	if rec.State != recFailed || rec.Code != protocol.CodeState || rec.Reason == "" {
		t.Errorf("the download is %s: %s (%s), want it to have failed with E_STATE", rec.State, rec.Reason, rec.Code)
	}
	stored, err := r.Downloads(protocol.UserID{})
	if err != nil || len(stored) != 1 || stored[0].State != recFailed {
		t.Errorf("the records hold %+v (%v)", stored, err)
	}
	if _, err := os.Stat(target.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a wrong file has the final name: %v", err)
	}
	if _, err := os.Stat(filepath.Join(target.Dir, target.Part)); err != nil {
		t.Errorf("what was fetched is gone: %v", err)
	}
}

// A fault of the disk that the swarm has given up on ends no download that has
// begun: its file is opened anew.
func TestLastingFaultMayPass(t *testing.T) {
	for _, code := range []protocol.Code{protocol.CodeState, protocol.CodePerm} {
		d := newDownload(nil, records.Download{State: recActive})
		d.begun = true
		fault := protocol.Errorf(code, "broken")
		_, _, err := d.fill(t.Context(), &losing{}, func() error { return fault })
		if p, ok := errors.AsType[*passingError](err); !ok || p.counts || !errors.Is(err, fault) {
			t.Errorf("%s: got %#v, want it to pass", code, err)
		}
	}
}
