package trackers

import (
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// TestOffersConverge plays a tracker that takes announcements while offers
// change: once there is nothing more to tell, it knows what is wanted.
func TestOffersConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o offers
		o.init()
		want, lease := map[offerKey]bool{}, map[offerKey]bool{}
		take := func(req *pb.AnnounceRequest) {
			for _, offer := range req.GetOffer() {
				lease[offerKey{protocol.GroupID(offer.GetGroupId()), protocol.FileID(offer.GetFileId())}] = offer.GetComplete()
			}
			for _, offer := range req.GetWithdraw() {
				delete(lease, offerKey{protocol.GroupID(offer.GetGroupId()), protocol.FileID(offer.GetFileId())})
			}
		}
		var flying *pb.AnnounceRequest
		key := rapid.Custom(func(t *rapid.T) offerKey {
			return offerKey{protocol.GroupID{rapid.Byte().Draw(t, "group") % 2}, protocol.FileID{rapid.Byte().Draw(t, "file") % 4}}
		})
		t.Repeat(map[string]func(*rapid.T){
			"offer": func(t *rapid.T) {
				k, complete := key.Draw(t, "key"), rapid.Bool().Draw(t, "complete")
				want[k] = complete
				o.set(k, complete, true)
			},
			"withdraw": func(t *rapid.T) {
				k := key.Draw(t, "key")
				delete(want, k)
				o.set(k, false, false)
			},
			"send": func(*rapid.T) {
				if flying == nil {
					flying = o.next()
				}
			},
			"arrive": func(*rapid.T) {
				if flying != nil {
					take(flying)
					o.done(flying)
					flying = nil
				}
			},
			"another tracker": func(*rapid.T) {
				clear(lease)
				flying = nil
				o.begin()
			},
			"": func(*rapid.T) {},
		})
		if flying != nil {
			take(flying)
			o.done(flying)
		}
		for req := o.next(); req != nil; req = o.next() {
			take(req)
			o.done(req)
		}
		if !maps.Equal(lease, want) {
			t.Fatalf("the tracker knows %v, want %v", lease, want)
		}
	})
}
