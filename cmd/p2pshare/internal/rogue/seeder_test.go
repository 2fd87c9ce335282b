package rogue_test

import (
	"fmt"
	"testing"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/rogue"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// TestLyingSeeders has one download meet each liar first and alone, then an
// honest seeder: the copy is right, and the lie cost little.
func TestLyingSeeders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"ops": "off", "registrations": "off", "logins": "off"})
	ada, bob := w.user("ada"), w.user("bob")
	for i, lie := range rogue.Lies() {
		group, user := fmt.Sprint("g", i), fmt.Sprint("mal", i)
		t.Run(lie.Name, func(t *testing.T) {
			ada.group(group)
			ada.letIn(group, "bob", bob)
			mal := w.member(ada, group, user)
			path, m, data := w.file(fmt.Sprintf("f%d.bin", i), 4<<20+12345)
			told := mal.Seed(m, data, lie)
			mal.Attach()
			id := protocol.GroupID{}
			copy(id[:], rogue.Must(mal, mal.At().ListFiles, listFiles(group)).GetGroupId())
			mal.Offer(group, id, m)
			d := bob.begin(group, m.Name)
			w.eventually("the liar is asked", func() bool {
				return told.Asked.Load() > 0 || lie.Greet != nil && told.Streams.Load() > 0
			})
			ada.share(group, path)
			if res := bob.finish(d, data); res.Wasted > 8<<20 {
				t.Errorf("%d bytes wasted, at most 8 MiB are allowed", res.Wasted)
			}
		})
	}
}

func listFiles(group string) *pb.ListFilesRequest {
	return &pb.ListFilesRequest{Group: &pb.GroupRef{Name: group}}
}
