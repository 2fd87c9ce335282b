package node

import (
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
)

// Nobody is said to be offline before a tracker has told who has the file.
func TestNobodyIsMissedBeforeATrackerHasTold(t *testing.T) {
	a, rec := recorded(t)
	a.node.online.Store(true)
	d := newDownload(a, rec)
	d.latest.Reason, d.latest.Message = protocol.CodeNoSeeders, "nobody is online"
	if p := d.Progress(); p.State != Waiting || p.Reason != protocol.CodeNoSeeders || p.Message != "asking a tracker who has this file; progress is kept" {
		t.Errorf("before: %+v", p)
	}
	d.asked = true
	if p := d.Progress(); p.State != Waiting || p.Reason != protocol.CodeNoSeeders || p.Message != "nobody is online" {
		t.Errorf("after: %+v", p)
	}
}
