package presence_test

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
)

// full returns a table with n clients of as many users, each with four
// addresses and 20 files that all of them have, and what it spreads from then on.
func full(b *testing.B, n int) (t *presence.Table, bytes *int) {
	b.Helper()
	bytes = new(int)
	t = presence.New(presence.Config{
		OnChange: func([]presence.Change) {},
		OnDelta:  func(d *pb.PresenceDelta) { *bytes += proto.Size(d) },
	})
	for i := range n {
		t.Open(lease(i))
	}
	*bytes = 0
	return t, bytes
}

func lease(i int) presence.Lease {
	l := presence.Lease{Peer: fmt.Sprintf("12D3KooW%044d", i), User: protocol.UserID{byte(i), byte(i >> 8)}}
	for a := range 4 {
		l.Addrs = append(l.Addrs, fmt.Sprintf("/ip4/192.0.2.%d/udp/40000/quic-v1", a))
	}
	for f := range byte(20) {
		l.Offers = append(l.Offers, presence.Offer{FileRef: ref(1, f), Complete: true})
	}
	return l
}

func sizes(b *testing.B, f func(b *testing.B, t *presence.Table, n int)) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			t, bytes := full(b, n)
			b.ResetTimer()
			f(b, t, n)
			b.ReportMetric(float64(*bytes)/float64(b.N), "spread-B/op")
		})
	}
}

// BenchmarkAnnounce has one client begin to fetch a file, or end.
func BenchmarkAnnounce(b *testing.B) {
	sizes(b, func(b *testing.B, t *presence.Table, n int) {
		for i := range b.N {
			peer := lease(i % n).Peer
			if i/n%2 == 0 {
				t.Announce(peer, []presence.Offer{part(50)}, nil, nil)
			} else {
				t.Announce(peer, nil, []presence.FileRef{ref(1, 50)}, nil)
			}
		}
	})
}

// BenchmarkAnnounceAmongMany has a client with many offers begin to fetch a file,
// or end, and another tracker take that.
func BenchmarkAnnounceAmongMany(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			there := presence.New(presence.Config{OnChange: func([]presence.Change) {}})
			here := presence.New(presence.Config{
				OnChange: func([]presence.Change) {},
				OnDelta:  func(d *pb.PresenceDelta) { there.ApplyDelta("here", d) },
			})
			l := lease(0)
			for i := range n {
				many := presence.FileRef{Group: protocol.GroupID{2}, File: protocol.FileID{byte(i), byte(i >> 8)}}
				l.Offers = append(l.Offers, presence.Offer{FileRef: many, Complete: true})
			}
			here.Open(l)
			here.Announce(l.Peer, l.Offers, nil, nil)
			there.Apply("here", here.Local())
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if i%2 == 0 {
					here.Announce(l.Peer, []presence.Offer{part(50)}, nil, nil)
				} else {
					here.Announce(l.Peer, nil, []presence.FileRef{ref(1, 50)}, nil)
				}
			}
		})
	}
}

// BenchmarkMove has a client open its lease anew and tell all its offers.
func BenchmarkMove(b *testing.B) {
	sizes(b, func(b *testing.B, t *presence.Table, n int) {
		for i := range b.N {
			l := lease(i % n)
			offers := l.Offers
			l.Offers = nil
			t.Open(l)
			t.Announce(l.Peer, offers, nil, nil)
		}
	})
}

func BenchmarkSweep(b *testing.B) {
	sizes(b, func(b *testing.B, t *presence.Table, _ int) {
		for range b.N {
			t.Sweep()
		}
	})
}

// BenchmarkComplete counts for one page of files who has each.
func BenchmarkComplete(b *testing.B) {
	sizes(b, func(b *testing.B, t *presence.Table, _ int) {
		for range b.N {
			for f := range protocol.PageSize {
				t.Complete(ref(1, byte(f%20)))
			}
		}
	})
}

func BenchmarkSeeders(b *testing.B) {
	sizes(b, func(b *testing.B, t *presence.Table, _ int) {
		for range b.N {
			t.Seeders(ref(1, 1), protocol.MaxSeeders)
		}
	})
}

// BenchmarkDropWhere looks for the leases of one session.
func BenchmarkDropWhere(b *testing.B) {
	sizes(b, func(b *testing.B, t *presence.Table, _ int) {
		for range b.N {
			t.DropWhere(func(l presence.Lease, _ presence.Offer) bool { return l.Session == protocol.SessionID{9} })
		}
	})
}
