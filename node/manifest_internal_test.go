package node

import (
	"crypto/sha1"
	"testing"

	"github.com/zeebo/blake3"

	"github.com/p2pshare/p2pshare/protocol"
)

// One tracker that sends a wrong description does not end a download: others
// have the right one. If none has, that is no fault of the file.
func TestWrongManifestIsAskedForElsewhere(t *testing.T) {
	content := []byte("some content")
	describe := func(name string) *protocol.Manifest {
		return &protocol.Manifest{
			Name: name, Size: int64(len(content)), PieceLength: protocol.MinPieceLength, SHA1: sha1.Sum(content),
			Pieces: []protocol.PieceHash{{SHA1: sha1.Sum(content), BLAKE3: blake3.Sum256(content)}},
		}
	}
	right, wrong := describe("a"), describe("b")
	for _, tt := range []struct {
		name string
		lies int32 // the answers that are wrong
		want protocol.Code
	}{{"one lies", 1, ""}, {"all lie", 1 << 30, protocol.CodeNoTracker}} {
		t.Run(tt.name, func(t *testing.T) {
			r := testRecords(t)
			m := &fakes{manifest: func(call int32) []byte {
				if call <= tt.lies {
					return wrong.Encode()
				}
				return right.Encode()
			}}
			c, _ := m.client(t, r, m.serve(t, 1), m.serve(t, 2))
			a := &account{node: &Node{records: r, trackers: c}}
			got, err := a.manifest(t.Context(), fileKey{file: right.ID()})
			if protocol.CodeOf(err) != tt.want || err == nil && got.Name != "a" {
				t.Errorf("got %+v, %v, want %q", got, err, tt.want)
			}
			if n := m.asked.Load(); n < 2 {
				t.Errorf("%d trackers were asked", n)
			}
		})
	}
}
