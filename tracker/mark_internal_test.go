package tracker

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

func TestMark(t *testing.T) {
	dir := t.TempDir()
	want := protocol.NewNetworkID()
	if id, err := readMark(dir); !id.IsZero() || err != nil {
		t.Errorf("an empty folder is marked with %v, %v", id, err)
	}
	if err := MarkNew(dir, want); err != nil {
		t.Fatal(err)
	}
	if id, err := readMark(dir); id != want || err != nil {
		t.Errorf("the mark is read as %v, %v", id, err)
	}
	if err := MarkNew(dir, protocol.NewNetworkID()); err != nil {
		t.Fatal(err)
	}
	if id, err := readMark(dir); id != want || err != nil {
		t.Errorf("after a second mark: %v, %v", id, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("beside the mark there are %v, %v", left, err)
	}
	for range 2 { // the second time there is none
		if err := dropMark(dir); err != nil {
			t.Fatal(err)
		}
	}
	if id, err := readMark(dir); !id.IsZero() || err != nil {
		t.Errorf("the mark is still there: %v, %v", id, err)
	}
	if err := os.WriteFile(filepath.Join(dir, markName), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readMark(dir); protocol.CodeOf(err) != protocol.CodeState {
		t.Errorf("a damaged mark: got %v, want E_STATE", err)
	}
}

func TestOldMarkWaits(t *testing.T) {
	dir := t.TempDir()
	if got := beginAfter(dir); got != 0 {
		t.Errorf("without a mark a start waits %v longer", got)
	}
	if err := MarkNew(dir, protocol.NewNetworkID()); err != nil {
		t.Fatal(err)
	}
	if got := beginAfter(dir); got != 0 {
		t.Errorf("with a fresh mark a start waits %v longer", got)
	}
	yesterday := time.Now().Add(-24 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, markName), yesterday, yesterday); err != nil {
		t.Fatal(err)
	}
	if got := beginAfter(dir); got != staleWait {
		t.Errorf("with a mark of yesterday a start waits %v longer, want %v", got, staleWait)
	}
}
