package node

import (
	"slices"
	"testing"

	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
)

// A stop that trackers refuse for good keeps no other one waiting; where there
// is no tracker, no other one is tried.
func TestSayAll(t *testing.T) {
	for _, tt := range []struct {
		code protocol.Code // of the second
		told []byte
		said int
	}{
		{"", []byte{1, 2, 3}, 3},
		{protocol.CodeForbidden, []byte{1, 3}, 3},
		{protocol.CodeNoTracker, []byte{1}, 2},
		{protocol.CodeSession, []byte{1}, 2},
		{protocol.CodeInternal, []byte{1, 3}, 3},
	} {
		said := 0
		told, err := sayAll([]records.Stop{{File: protocol.FileID{1}}, {File: protocol.FileID{2}}, {File: protocol.FileID{3}}}, func(s records.Stop) error {
			if said++; s.File[0] == 2 && tt.code != "" {
				return protocol.Errorf(tt.code, "no")
			}
			return nil
		})
		var got []byte
		for _, s := range told {
			got = append(got, s.File[0])
		}
		if protocol.CodeOf(err) != tt.code || !slices.Equal(got, tt.told) || said != tt.said {
			t.Errorf("%s: told %v of %d said, %v, want %v of %d", tt.code, got, said, err, tt.told, tt.said)
		}
	}
}
