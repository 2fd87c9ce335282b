package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

// recorded is an account with records, in which nothing runs, and a download
// with partial data.
func recorded(t *testing.T) (*account, records.Download) {
	t.Helper()
	r := testRecords(t)
	a := &account{
		node: &Node{records: r}, ctx: t.Context(), ended: true, recording: make(chan struct{}, 1), remove: removeData,
		downloads: map[fileKey]*Download{}, shares: map[fileKey]*share{},
	}
	rec := records.Download{
		File: protocol.FileID{1}, Name: "a", State: recActive, Size: 9,
		Target: filestore.Target{Dir: t.TempDir(), Name: "a", Part: ".p2ps-1-2.part"},
	}
	if err := errors.Join(r.PutDownload(rec), r.Journal(rec.User, rec.Group, rec.File).Save([]byte{0x80}),
		os.WriteFile(filepath.Join(rec.Target.Dir, rec.Target.Part), []byte("some data"), 0o600)); err != nil {
		t.Fatal(err)
	}
	return a, rec
}

// kept reports what is left of a download: its record, journal and data.
func kept(t *testing.T, a *account, rec records.Download) (record, journal, data bool) {
	t.Helper()
	all, err := a.node.records.Downloads(rec.User)
	if err != nil {
		t.Fatal(err)
	}
	bits, err := a.node.records.Journal(rec.User, rec.Group, rec.File).Load()
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(filepath.Join(rec.Target.Dir, rec.Target.Part))
	return len(all) == 1, bits != nil, err == nil
}

// Whoever cancels a download that failed does no harm to the one that was begun
// in its place.
func TestCancelOfAnOldHandle(t *testing.T) {
	a, rec := recorded(t)
	failed := rec
	failed.State, failed.Code, failed.Reason = recFailed, protocol.CodeTargetExists, "it is there"
	old := newDownload(a, failed)
	a.downloads[old.key] = newDownload(a, rec)
	if err := old.cancelNow(t.Context()); protocol.CodeOf(err) != protocol.CodeNotFound {
		t.Errorf("Cancel = %v, want %s", err, protocol.CodeNotFound)
	}
	if err := old.forget(); err != nil { // it failed just before the other was begun
		t.Error(err)
	}
	if record, journal, data := kept(t, a, rec); !record || !journal || !data || a.download(old.key) == old {
		t.Errorf("of the new download are left: record %v, journal %v, data %v", record, journal, data)
	}
}

// While a download is being cancelled, nobody gets its handle, or writes its
// record again.
func TestNothingReachesADyingDownload(t *testing.T) {
	a, rec := recorded(t)
	d := newDownload(a, rec)
	a.downloads[d.key] = d
	d.cancelled = true // and its end is under way
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := a.startDownload(ctx, rec); !errors.Is(err, context.Canceled) {
		t.Errorf("startDownload = %p, %v, want to wait for the end of %p", got, err, d)
	}
	for name, f := range map[string]func() error{"Resume": d.resumeNow, "Pause": func() error { return d.pauseNow(t.Context()) }} {
		if err := f(); protocol.CodeOf(err) != protocol.CodeNotFound {
			t.Errorf("%s = %v, want %s", name, err, protocol.CodeNotFound)
		}
	}
	if err := errors.Join(d.forget(), d.save()); err != nil {
		t.Fatal(err)
	}
	if record, journal, data := kept(t, a, rec); record || journal || data || a.download(d.key) != nil {
		t.Errorf("after the end are left: record %v, journal %v, data %v", record, journal, data)
	}
	close(d.ended)
	if err := d.cancelNow(t.Context()); err != nil {
		t.Errorf("Cancel of a download that was cancelled: %v", err)
	}
}

// A download that takes the place of an ended one of the same file and folder
// keeps what that has fetched, and what the journal says of it.
func TestReplacedDownloadKeepsItsJournal(t *testing.T) {
	for _, state := range []string{recFailed, recComplete} {
		a, rec := recorded(t)
		old := rec
		old.State = state
		if err := a.dropOther(newDownload(a, old), rec); err != nil {
			t.Fatal(err)
		}
		if record, journal, data := kept(t, a, rec); !record || !journal || !data {
			t.Errorf("%s: record %v, journal %v, data %v are kept", state, record, journal, data)
		}
	}
}

// A file that was found spoiled, and has its final name still, goes with its
// download. One that the user has changed since stays, and so does nothing where
// the folder is gone.
func TestSpoiledFileGoesWithItsDownload(t *testing.T) {
	ways := map[string]func(a *account, d *Download) error{
		"cancelled": func(_ *account, d *Download) error { return d.forget() },
		"failed, and begun anew elsewhere": func(a *account, d *Download) error {
			d.rec.State = recFailed
			to := d.rec
			to.Target.Dir = t.TempDir()
			a.ended = false
			delete(a.downloads, d.key)
			err := a.dropOther(d, to)
			a.wg.Wait()
			return err
		},
	}
	for way, drop := range ways {
		for _, state := range []string{"spoiled", "changed by the user", "gone with its folder"} {
			t.Run(way+", "+state, func(t *testing.T) {
				a, rec := recorded(t)
				path := rec.Target.Path()
				if err := os.Rename(filepath.Join(rec.Target.Dir, rec.Target.Part), path); err != nil {
					t.Fatal(err)
				}
				info, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				rec.Unchecked = filestore.Stamp{Size: info.Size(), ModTime: info.ModTime()}
				switch state {
				case "changed by the user":
					err = os.WriteFile(path, []byte("something else"), 0o600)
				case "gone with its folder":
					err = os.RemoveAll(rec.Target.Dir)
				}
				if err != nil {
					t.Fatal(err)
				}
				d := newDownload(a, rec)
				a.downloads[d.key] = d
				if err := drop(a, d); err != nil {
					t.Error(err)
				}
				if record, _, data := kept(t, a, rec); record || data {
					t.Errorf("left: record %v, partial data %v", record, data)
				}
				if _, err := os.Stat(path); (err == nil) != (state == "changed by the user") {
					t.Errorf("under the final name: %v", err)
				}
			})
		}
	}
}

// While the disk of a download that has ended takes its time to remove what was
// fetched, others are recorded; the same one waits, or begins elsewhere.
func TestRemovalHoldsUpNoRecord(t *testing.T) {
	ways := map[string]func(a *account, d *Download, to records.Download) error{
		"cancelled": func(a *account, d *Download, to records.Download) error {
			d.cancelled = true
			a.wg.Go(func() {
				if err := d.cancelNow(context.Background()); err != nil {
					t.Errorf("Cancel: %v", err)
				}
			})
			synctest.Wait()
			ctx, cancel := context.WithTimeout(a.ctx, time.Minute)
			defer cancel()
			if _, err := a.startDownload(ctx, to); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a download whose data are being removed began anew: %v", err)
			}
			return nil
		},
		"failed, and begun anew elsewhere": func(a *account, d *Download, to records.Download) error {
			return a.record(func() error { return a.dropOther(d, to) })
		},
	}
	for way, drop := range ways {
		t.Run(way, func(t *testing.T) {
			a, rec := recorded(t)
			rec.State = recFailed
			to := rec
			to.Target.Dir = t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				a.ctx, a.ended, a.recording = t.Context(), false, make(chan struct{}, 1)
				answer, removed := make(chan struct{}), false
				a.remove = func(records.Download) error {
					<-answer
					removed = true
					return nil
				}
				d := newDownload(a, rec)
				if way == "cancelled" {
					a.downloads[d.key] = d
				}
				if err := drop(a, d, to); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if removed {
					t.Fatal("the data are removed already")
				}
				select {
				case a.recording <- struct{}{}:
					<-a.recording
				default:
					t.Error("nothing can be recorded until the disk answers")
				}
				close(answer)
				a.wg.Wait()
				if record, journal, _ := kept(t, a, rec); record || journal || !removed {
					t.Errorf("left: record %v, journal %v; the data removed: %v", record, journal, removed)
				}
			})
		})
	}
}

// What is served has no piece when neither a growing file nor a share is there.
func TestServedHasWhatIsThere(t *testing.T) {
	a, rec := recorded(t)
	d := newDownload(a, rec)
	a.downloads[d.key] = d // which waits, without a file
	c := &served{account: a, key: d.key, manifest: &protocol.Manifest{Pieces: make([]protocol.PieceHash, 9)}}
	none := func(when string) {
		t.Helper()
		if complete, bits := c.Have(); complete || !slices.Equal(bits, []byte{0, 0}) {
			t.Errorf("%s: complete %v, %x", when, complete, bits)
		}
	}
	none("without a share")
	a.shares[d.key] = newShare(a, records.Share{File: rec.File})
	if complete, _ := c.Have(); !complete {
		t.Error("a share is not whole")
	}
	a.shares[d.key].withdraw("changed")
	none("with a share that has ended")
}
