package presence

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/internal/frugal"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// Whatever another tracker tells of a client, what is kept is within bounds.
func FuzzLease(f *testing.F) {
	for _, m := range []*pb.Lease{
		{PeerId: "peer", UserId: make([]byte, 16), SessionId: make([]byte, 16), Addrs: []string{"/ip4/192.0.2.1/tcp/1"}},
		{PeerId: "peer", UserId: make([]byte, 16), SessionId: make([]byte, 16), Offers: []*pb.Offer{{GroupId: make([]byte, 16), FileId: make([]byte, 32)}}},
		{PeerId: "peer", UserId: []byte{1}},
		{Gone: true},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		defer frugal.Check(t)()
		m := new(pb.Lease)
		if proto.Unmarshal(b, m) != nil {
			return
		}
		l, ok := decode(m)
		if !ok {
			return
		}
		if l.Peer == "" || len(l.Peer) > maxText || len(l.Addrs) > protocol.MaxAddrs || len(l.Offers) > maxOffers {
			t.Errorf("accepted: %+v", l)
		}
	})
}
