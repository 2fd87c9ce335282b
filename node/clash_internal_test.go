package node

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

// Whoever asked for a download while it was being recorded hears that it could
// not be, and waits no longer.
func TestDownloadThatCannotBeRecorded(t *testing.T) {
	r := testRecords(t)
	if err := r.Close(); err != nil { // every change fails from now on
		t.Fatal(err)
	}
	a := &account{node: &Node{records: r}, recording: make(chan struct{}, 1), downloads: map[fileKey]*Download{}}
	rec := records.Download{File: protocol.FileID{1}, State: recActive, Target: filestore.Target{Dir: "/", Name: "x", Part: "y"}}
	k := fileKey{rec.Group, rec.File}
	second := make(chan *Download)
	go func() {
		for {
			if d := a.download(k); d != nil {
				second <- d
				return
			}
		}
	}()
	for deadline := time.Now().Add(20 * time.Second); ; {
		if _, err := a.startDownload(t.Context(), rec); protocol.CodeOf(err) != protocol.CodeState {
			t.Fatalf("startDownload = %v, want %s", err, protocol.CodeState)
		}
		select {
		case d := <-second:
			if _, err := d.Wait(t.Context()); protocol.CodeOf(err) != protocol.CodeState {
				t.Errorf("Wait = %v, want %s", err, protocol.CodeState)
			}
			if d.unfinished() || a.download(k) != nil {
				t.Error("the download is still there")
			}
			return
		default:
			if time.Now().After(deadline) {
				t.Fatal("nobody was fast enough to see the download while it was recorded")
			}
		}
	}
}

func TestClash(t *testing.T) {
	target := func(dir, name, part string) records.Download {
		return records.Download{GroupNm: "g", Target: filestore.Target{Dir: dir, Name: name, Part: part}}
	}
	dir := filepath.Join("a", "dir")
	for _, tt := range []struct {
		name string
		o, r records.Download
		want protocol.Code
	}{
		{"another file", target(dir, "a", "1"), target(dir, "b", "2"), ""},
		{"another folder", target(dir, "a", "1"), target("b", "a", "1"), ""},
		{"another file of that name", target(dir, "a", "1"), target(dir, "a", "2"), protocol.CodeTargetExists},
		{"the same file, of another group", target(dir, "a", "1"), target(dir, "a", "1"), protocol.CodeExists},
		{"the same file under another name", target(dir, "a", "1"), target(dir, "b", "1"), protocol.CodeExists},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := protocol.CodeOf(clash(tt.r, tt.o)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// A group that is lost ends all its shares, with one notice, and no other.
func TestManySharesEndAtOnce(t *testing.T) {
	r := testRecords(t)
	var recs []records.Share
	for i := range 1000 {
		s := records.Share{GroupNm: "g", File: protocol.FileID{byte(i), byte(i >> 8)}, Name: fmt.Sprint(i), Withdrawn: "gone"}
		recs = append(recs, s)
	}
	if err := r.WithdrawShares(recs...); err != nil {
		t.Fatal(err)
	}
	if stops, err := r.Stops(protocol.UserID{}); err != nil || len(stops) != len(recs) {
		t.Errorf("%d stops are to be told (%v), want %d", len(stops), err, len(recs))
	}
	if e := withdrawn(recs, "gone"); e.File != "" || e.Text != "1000 files in g are not shared any more: gone" {
		t.Errorf("got %+v", e)
	}
	if e := withdrawn(recs[:1], "gone"); e.File != "0" || e.Text != "0 in g is not shared any more: gone" {
		t.Errorf("got %+v", e)
	}
}
