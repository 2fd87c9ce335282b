package records_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

func open(t *testing.T, dir string) *records.Records {
	t.Helper()
	r, err := records.Open(dir)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if r.Damaged() != "" {
		t.Fatalf("Damaged = %q, want nothing", r.Damaged())
	}
	return r
}

func reopen(t *testing.T, r *records.Records, dir string) *records.Records {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return open(t, dir)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, what string, got any, err error, want any) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%s = %+v, %v\nwant %+v", what, got, err, want)
	}
}

var (
	ada   = protocol.UserID{1, 2, 3}
	bob   = protocol.UserID{1, 2, 4}
	group = protocol.GroupID{5}
	files = []protocol.FileID{{1}, {2}, {3}}
)

func share(u protocol.UserID, f protocol.FileID) records.Share {
	return records.Share{
		User: u, Group: group, GroupNm: "A group", File: f, Name: "Übung 1.pdf",
		Path:  "/home/ada/b\xffd \"name\"/Übung 1.pdf", // a path need not be UTF-8
		Stamp: filestore.Stamp{Size: 7, ModTime: time.Unix(1_700_000_000, 123_456_789).UTC(), Inode: 1 << 63},
		SHA1:  protocol.SHA1{9}, Size: 7, Since: time.Unix(1_700_000_001, 5).UTC(), Withdrawn: "changed",
	}
}

func download(u protocol.UserID, f protocol.FileID, added int64) records.Download {
	return records.Download{
		User: u, Group: group, GroupNm: "A group", File: f, Name: "a.bin", Uploader: "bob",
		Target: filestore.Target{Dir: "/tmp/\xfe", Name: "a.bin", Part: ".p2ps-1-2.part", Folder: 1 << 63},
		State:  "failed", Path: "/tmp/a.bin", Code: protocol.CodeDiskFull, Reason: "the disk is full",
		Size: 1 << 40, SHA1: protocol.SHA1{4}, Added: time.Unix(added, 1).UTC(), Repairs: 2,
		Unchecked: filestore.Stamp{Size: 1 << 40, ModTime: time.Unix(added, 2).UTC(), Inode: 9},
	}
}

func TestSession(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	got, err := r.Session()
	same(t, "Session of new records", got, err, (*records.Session)(nil))
	want := &records.Session{Envelope: []byte{0, 1, 255}, User: ada, Name: "ada", Network: protocol.NetworkID{8}}
	check(t, r.SetSession(want))
	r = reopen(t, r, dir)
	got, err = r.Session()
	same(t, "Session", got, err, want)
	check(t, r.SetSession(nil))
	r = reopen(t, r, dir)
	got, err = r.Session()
	same(t, "Session after it was forgotten", got, err, (*records.Session)(nil))
	check(t, r.Close())
}

func TestSharesOfUsers(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	for _, s := range []records.Share{share(ada, files[0]), share(ada, files[1]), share(bob, files[0])} {
		check(t, r.PutShare(s))
	}
	changed := share(ada, files[1])
	changed.Withdrawn = ""
	check(t, r.PutShare(changed))
	r = reopen(t, r, dir)
	got, err := r.Shares(ada)
	same(t, "Shares of ada", got, err, []records.Share{share(ada, files[0]), changed})
	check(t, r.StopShare(records.Stop{User: ada, Group: group, File: files[0]}))
	check(t, r.StopShare(records.Stop{User: ada, Group: group, File: files[2]})) // was never there
	got, err = r.Shares(ada)
	same(t, "Shares of ada", got, err, []records.Share{changed})
	got, err = r.Shares(bob)
	same(t, "Shares of bob", got, err, []records.Share{share(bob, files[0])})
	got, err = r.Shares(protocol.UserID{})
	same(t, "Shares of nobody", got, err, []records.Share(nil))
	check(t, r.Close())
}

func TestDownloadsAndJournals(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	young, old := download(ada, files[0], 20), download(ada, files[1], 10)
	check(t, r.PutDownload(young))
	check(t, r.PutDownload(old))
	check(t, r.PutDownload(download(bob, files[0], 1)))
	j := r.Journal(ada, group, files[0])
	bits, err := j.Load()
	same(t, "Load without a journal", bits, err, []byte(nil))
	check(t, j.Save([]byte{}))
	bits, err = j.Load()
	same(t, "Load of an empty journal", bits, err, []byte{})
	long := make([]byte, protocol.MaxPieces/8)
	long[7] = 3
	check(t, j.Save(long))
	r = reopen(t, r, dir)
	got, err := r.Downloads(ada)
	same(t, "Downloads, oldest first", got, err, []records.Download{old, young})
	j = r.Journal(ada, group, files[0])
	bits, err = j.Load()
	same(t, "Load", bits, err, long)
	check(t, r.DeleteDownload(ada, group, files[0]))
	bits, err = j.Load()
	same(t, "Load after DeleteDownload", bits, err, []byte(nil))
	got, err = r.Downloads(ada)
	same(t, "Downloads after DeleteDownload", got, err, []records.Download{old})
	check(t, r.Close())
}

func TestManifestsStayWhileNeeded(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	big := []byte(strings.Repeat("manifest", 3<<19))
	for i, f := range files {
		check(t, r.PutManifest(f, big[:len(big)-i]))
	}
	check(t, r.PutShare(share(ada, files[0])))
	check(t, r.PutDownload(download(bob, files[1], 1)))
	got, err := r.Manifest(files[2])
	if err != nil || len(got) != len(big)-2 {
		t.Fatalf("Manifest before reopening = %d bytes, %v", len(got), err)
	}
	r = reopen(t, r, dir)
	for i, want := range []int{len(big), len(big) - 1, 0} {
		if got, err := r.Manifest(files[i]); err != nil || len(got) != want || (want == 0) != (got == nil) {
			t.Fatalf("Manifest(%d) = %d bytes, %v, want %d", i, len(got), err, want)
		}
	}
	check(t, r.Close())
}

func TestTrackers(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	learned, err := r.Learned()
	same(t, "Learned of new records", learned, err, map[string][]string{})
	pending, err := r.Pending()
	same(t, "Pending of new records", pending, err, [][]byte(nil))
	check(t, r.SetLearned(map[string][]string{"a": {"/ip4/1.2.3.4/tcp/1"}}))
	check(t, r.SetPending([][]byte{{1}, {2, 3}}))
	r = reopen(t, r, dir)
	learned, err = r.Learned()
	same(t, "Learned", learned, err, map[string][]string{"a": {"/ip4/1.2.3.4/tcp/1"}})
	pending, err = r.Pending()
	same(t, "Pending", pending, err, [][]byte{{1}, {2, 3}})
	check(t, r.SetPending(nil))
	check(t, r.SetLearned(nil))
	pending, err = r.Pending()
	same(t, "Pending when all are told", pending, err, [][]byte(nil))
	learned, err = r.Learned()
	same(t, "Learned when forgotten", learned, err, map[string][]string{})
	check(t, r.Close())
}

func TestOpenRefuses(t *testing.T) {
	t.Run("a second process", func(t *testing.T) {
		dir := t.TempDir()
		r := open(t, dir)
		_, err := records.Open(dir)
		if !errors.Is(err, protocol.ErrLocked) {
			t.Errorf("second Open = %v, want E_LOCKED", err)
		}
		r = reopen(t, r, dir)
		check(t, r.Close())
	})
	t.Run("a file that others can read", func(t *testing.T) {
		if runtime.GOOS == "windows" {
			return // access is a matter of lists there
		}
		dir := t.TempDir()
		check(t, open(t, dir).Close())
		check(t, os.Chmod(filepath.Join(dir, "records.db"), 0o640))
		if _, err := records.Open(dir); protocol.CodeOf(err) != protocol.CodePerm {
			t.Errorf("Open = %v, want E_PERM", err)
		}
		check(t, os.Chmod(filepath.Join(dir, "records.db"), 0o600))
		check(t, open(t, dir).Close())
	})
	t.Run("a folder in its place", func(t *testing.T) {
		dir := t.TempDir()
		check(t, os.Mkdir(filepath.Join(dir, "records.db"), 0o700))
		if _, err := records.Open(dir); protocol.CodeOf(err) != protocol.CodeState {
			t.Errorf("Open = %v, want E_STATE", err)
		}
	})
	t.Run("nothing after Close", func(t *testing.T) {
		r := open(t, t.TempDir())
		check(t, r.Close())
		if err := r.SetPending(nil); protocol.CodeOf(err) != protocol.CodeState {
			t.Errorf("SetPending after Close = %v, want E_STATE", err)
		}
		if _, err := r.Pending(); protocol.CodeOf(err) != protocol.CodeState {
			t.Errorf("Pending after Close = %v, want E_STATE", err)
		}
	})
}

func TestPrivateFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // access is a matter of lists there
	}
	dir := filepath.Join(t.TempDir(), "new folder")
	r := open(t, dir)
	defer r.Close()
	for name, want := range map[string]os.FileMode{".": 0o700, "records.db": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("mode of %s = %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}

// What is stored is what is there, through any number of restarts.
func TestRecordsModel(t *testing.T) {
	base := t.TempDir()
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		dir := filepath.Join(base, fmt.Sprint(round))
		r, err := records.Open(dir)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = r.Close() }()
		model := map[protocol.FileID][]byte{}
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			f := protocol.FileID{rapid.ByteRange(0, 3).Draw(rt, "file")}
			switch rapid.IntRange(0, 3).Draw(rt, "step") {
			case 0:
				if err := r.Close(); err != nil {
					rt.Fatal(err)
				}
				if r, err = records.Open(dir); err != nil || r.Damaged() != "" {
					rt.Fatalf("Open = %v", err)
				}
			case 1:
				if err := r.DeleteDownload(ada, group, f); err != nil {
					rt.Fatal(err)
				}
				delete(model, f)
			default:
				bits := rapid.SliceOfN(rapid.Byte(), 0, 6000).Draw(rt, "bits")
				if err := r.Journal(ada, group, f).Save(bits); err != nil {
					rt.Fatal(err)
				}
				model[f] = append([]byte{}, bits...)
			}
			for f, want := range model {
				if got, err := r.Journal(ada, group, f).Load(); err != nil || string(got) != string(want) || got == nil {
					rt.Fatalf("Load(%v) = %x, %v, want %x", f, got, err, want)
				}
			}
		}
	})
}
