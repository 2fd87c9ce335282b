package trackers

import (
	"crypto/rand"
	"path/filepath"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/roster"
)

// A tracker that is dropped from the list may be called at that moment.
func TestDroppedWhileCalled(t *testing.T) {
	id := func() peer.ID {
		k, _, _ := crypto.GenerateEd25519Key(rand.Reader)
		p, _ := peer.IDFromPrivateKey(k)
		return p
	}
	one, two := id(), id()
	c, err := New(Config{
		Host: noHost{id: id()}, Entries: []roster.Entry{{Number: 1, Text: "one", Addr: ma.StringCast("/ip4/127.0.0.1/tcp/1"), ID: one}},
		PinFile: filepath.Join(t.TempDir(), "pins"), Store: noStore{}, Sink: func(Signal) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t1 := c.known.all()[0]
	both := []*pb.TrackerInfo{{PeerId: one.String(), Addrs: []string{"/ip4/127.0.0.1/tcp/1"}}, {PeerId: two.String(), Addrs: []string{"/ip4/127.0.0.1/tcp/2"}}}
	for range 200 {
		c.known.learn(t1, both)
		t2 := c.known.all()[1]
		done := make(chan struct{})
		go func() { defer close(done); c.rpcOf(t2, two) }()
		c.known.learn(t1, both[:1])
		<-done
	}
}
