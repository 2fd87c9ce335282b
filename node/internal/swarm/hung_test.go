package swarm_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/node/internal/swarm"
	"github.com/p2pshare/p2pshare/protocol"
)

// hungCopy is a target whose writes begin and do not end before there is an answer.
type hungCopy struct {
	*copyOf
	answer chan struct{}
}

func (c *hungCopy) Store(i int, data []byte) error {
	<-c.answer
	return c.copyOf.Store(i, data)
}

func newTarget(src *source) *copyOf {
	return &copyOf{source: src, have: make([]bool, len(src.manifest.Pieces)), tell: map[int]func(int){}}
}

// Downloads to a disk that does not answer, enough of them to keep all the memory
// in pieces that are being written, leave it to one whose disk does.
func TestHungDisksKeepNoMemoryOfOthers(t *testing.T) {
	src := newSource(class{pieces: 64, pieceLength: 64 << 10, seed: 1})
	synctest.Test(t, func(t *testing.T) {
		link := simnet.LinkSettings{BitsPerSecond: 100_000_000}
		network, meta, err := simlibp2p.SimpleLibp2pNetwork([]simlibp2p.NodeLinkSettingsAndCount{
			{LinkSettings: simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}, Count: 2},
		}, simnet.StaticLatency(time.Millisecond), simlibp2p.NetworkSettings{UseBlankHost: true})
		if err != nil {
			t.Fatal(err)
		}
		network.Start()
		defer network.Close()
		seeder, here := newMember(meta.Nodes[0], src, true, 1, 0), meta.Nodes[1]
		here.Peerstore().AddAddrs(seeder.host.ID(), seeder.host.Addrs(), peerstore.PermanentAddrTTL)
		if err := here.Connect(t.Context(), peer.AddrInfo{ID: seeder.host.ID()}); err != nil {
			t.Fatal(err)
		}

		const most = 16 // pieces
		buffers, shared := piece.NewBuffers(most*src.manifest.PieceLength), swarm.NewShared(most*src.manifest.PieceLength, most)
		begin := func(id byte, file swarm.File) *swarm.Swarm {
			s := swarm.New(swarm.Config{
				File: file, Shared: shared, Seed: uint64(id),
				Dial: func(ctx context.Context, p swarm.Peer, sink func(piece.Event)) (swarm.Link, error) {
					conn, err := piece.Open(ctx, piece.OpenConfig{
						Host: here, Peer: p.ID, Manifest: src.manifest, File: protocol.FileID{id}, Ticket: []byte("member"), Buffers: buffers, Sink: sink,
					})
					if err != nil {
						return nil, err
					}
					return conn, nil
				},
			})
			s.AddPeer(swarm.Peer{ID: seeder.host.ID()})
			return s
		}
		var running sync.WaitGroup
		answer := make(chan struct{})
		for id := range byte(4) {
			s := begin(id, &hungCopy{newTarget(src), answer})
			running.Go(func() {
				if err := s.Run(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		healthy := begin(9, newTarget(src))
		if err := healthy.Run(ctx); err != nil {
			t.Errorf("a download to another disk: %v, %+v", err, healthy.Progress())
		}
		close(answer)
		running.Wait()
		if err := seeder.server.Close(); err != nil {
			t.Error(err)
		}
		for _, h := range meta.Nodes {
			_ = h.Close()
		}
	})
}

// stoppedFile is a file of a process that is stopped for a while when it verifies.
type stoppedFile struct{ *file }

func (s stoppedFile) Verify(i int, data []byte) filestore.Verdict {
	time.Sleep(time.Minute)
	return s.file.Verify(i, data)
}

// A process that was stopped within a verification does not take that for a
// disk which hangs: nothing would ever tell that it answers.
func TestStoppedWhileVerifying(t *testing.T) {
	for range 10 { // what is wrong is so at random
		synctest.Test(t, func(t *testing.T) {
			w, f := newWorld(), newFile(2)
			w.add("p0", f, time.Millisecond)
			r := start(t, w, f, nil, func(c *swarm.Config) { c.File = stoppedFile{f} })
			r.finish(t, w, f, 5*time.Minute)
		})
	}
}
