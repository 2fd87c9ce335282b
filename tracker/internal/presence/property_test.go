package presence_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
)

// Whoever only listens to the changes knows at every moment who offers what,
// and whoever only takes deltas, some of them late, and lists knows what the other
// tracker has.
func TestChangesTellAll(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type at struct {
			file byte
			peer string
		}
		here, there := newTracker(), newTracker()
		tables := []*tracker{here, there}
		tokens := map[*tracker]map[string]uint64{here: {}, there: {}}
		heard := map[at]presence.Seeder{}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			tr := rapid.SampledFrom(tables).Draw(rt, "tracker")
			peer := rapid.SampledFrom([]string{"p", "q"}).Draw(rt, "peer")
			file := rapid.ByteRange(1, 3).Draw(rt, "file")
			offer := presence.Offer{FileRef: ref(1, file), Complete: rapid.Bool().Draw(rt, "complete")}
			user := rapid.ByteRange(1, 2).Draw(rt, "user")
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0, 1:
				tokens[tr][peer] = tr.Open(client(peer, user, offer))
			case 2, 3:
				tr.Announce(peer, []presence.Offer{offer}, []presence.FileRef{ref(1, 1)}, []string{fmt.Sprint("/", user)})
			case 4:
				tr.Close(peer, tokens[tr][peer])
			case 5:
				tr.clock.pass(3 * time.Second)
				tr.Sweep()
			case 6:
				tr.DropWhere(func(l presence.Lease, o presence.Offer) bool { return o.FileRef == ref(1, file) && l.Peer == peer })
			case 7:
				tr.DropWhere(func(l presence.Lease, _ presence.Offer) bool { return l.User == protocol.UserID{user} })
			case 8:
				here.TrackerGone("there")
			default:
				lost := rapid.IntRange(0, 2).Draw(rt, "which is lost")
				for i, d := range there.spread() {
					if i != lost {
						here.ApplyDelta("there", d)
					}
				}
				epoch, version := here.Held("there")
				if deltas, ok := there.Missed(epoch, version); !ok {
					here.Apply("there", there.Local())
				} else if !here.CatchUp("there", epoch, deltas) {
					rt.Fatal("what was missed does not follow what is known")
				}
			}
			here.mu.Lock()
			for _, c := range here.changes {
				if key := (at{c.File[0], c.Seeder.Peer}); c.Gone {
					if _, ok := heard[key]; !ok {
						rt.Errorf("%v is gone and was never there", key)
					}
					delete(heard, key)
				} else {
					heard[key] = c.Seeder
				}
			}
			here.changes = nil
			here.mu.Unlock()
			n := 0
			for f := byte(1); f <= 3; f++ {
				users := map[protocol.UserID]bool{}
				for _, s := range here.Seeders(ref(1, f), 10) {
					if s.Complete {
						users[s.User] = true
					}
				}
				if got := here.Complete(ref(1, f)); got != len(users) {
					rt.Fatalf("file %d: %d users have it, want %d", f, got, len(users))
				}
				for _, s := range here.Seeders(ref(1, f), 10) {
					n++
					if h, ok := heard[at{f, s.Peer}]; !ok || h.User != s.User || h.Complete != s.Complete || fmt.Sprint(h.Addrs) != fmt.Sprint(s.Addrs) {
						rt.Fatalf("file %d: seeder %+v, heard %+v", f, s, h)
					}
				}
			}
			if n != len(heard) {
				rt.Fatalf("%d seeders, heard of %d", n, len(heard))
			}
		}
		fresh := newTracker()
		fresh.Apply("there", there.Local())
		for f := byte(1); f <= 3; f++ {
			if a, b := fmt.Sprint(peersOf(fresh, f)), fmt.Sprint(peersOf(there, f)); a != b {
				rt.Fatalf("file %d: %s known of %s", f, a, b)
			}
		}
	})
}
