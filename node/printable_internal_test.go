package node

import (
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

// What a tracker told reaches callers without anything that a terminal obeys.
func TestNamesFromTrackersArePrintable(t *testing.T) {
	const evil = "g\x1b[2J\u202e"
	a, rec := recorded(t)
	rec.GroupNm, rec.Name = evil, evil
	d := newDownload(a, rec)
	s := newShare(a, records.Share{GroupNm: evil, Name: evil, Withdrawn: "gone"})
	a.shares[s.key] = s
	a.groups = map[protocol.GroupID]string{s.key.group: evil}
	a.node.account = a
	shares, err := a.node.Shares()
	if err != nil || len(shares) != 1 {
		t.Fatalf("got %+v, %v", shares, err)
	}
	res := d.resultOf(rec)
	for what, text := range map[string]string{
		"group of a result": res.Group, "name of a result": res.Name, "group of a share": shares[0].Group, "name of a share": shares[0].Name,
	} {
		if text == "" || strings.ContainsAny(text, "\x1b\u202e") {
			t.Errorf("%s: %q", what, text)
		}
	}
}
