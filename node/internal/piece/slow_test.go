package piece_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/protocol"
)

// Readers that are slow, and never so slow as to be parked, do not keep a fast
// one waiting while pieces go out one after the other in the beginning.
func TestSlowReadersInTheBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow, pieces = 8, 32
		f := newFile(pieces * protocol.PieceLength)
		s := piece.NewBareServer(serving(f))
		var fast *events
		var conns []*piece.Conn
		for i := range slow + 1 {
			ours, theirs := pipe()
			go s.Serve(theirs, peer.ID(fmt.Sprint(i)))
			e := newEvents()
			cfg := fetching(f, e.put)
			if i < slow {
				cfg.Limit = piece.NewLimit(200 << 10)
			} else {
				fast = e
			}
			c := piece.Start(ours, cfg)
			want[piece.Bitfield](t, e)
			conns = append(conns, c)
		}
		began := time.Now()
		for _, c := range conns {
			for i := range pieces {
				c.Request(i)
			}
		}
		for range pieces {
			want[piece.Received](t, fast).Data.Release()
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("the fast one has its %d pieces after %v", pieces, took)
		}
		for _, c := range conns {
			c.Close()
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
