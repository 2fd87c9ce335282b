package swarm_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"

	"github.com/p2pshare/p2pshare/node/internal/gate"
	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/node/internal/swarm"
	"github.com/p2pshare/p2pshare/protocol"
)

// class is a group that fetches one file from one seeder at the same moment,
// over equal links: the real downloads, servers and streams of nodes, over
// libp2p hosts on a simulated network, in virtual time. What is not real: the
// disk (a target hashes what it gets and keeps nothing), the trackers (members
// know each other from the start), and the piece length, which is short so that
// the whole takes seconds; the links are slow in proportion.
type class struct {
	peers, pieces int
	pieceLength   int64
	bitsPerSecond int
	delay         time.Duration // one way
	seed          uint64
	// limit is the bytes per second that each member may send and may receive;
	// 0 for what its link takes.
	limit int64
}

// largest is the largest class that has the pieces it should.
const largest = 200

// ordinary is a class whose pieces take 26 ms over its links, as those of
// ordinary files do at 160 Mbit/s. It has as many pieces as an ordinary file, which
// are 512 KiB: 384 are those of 192 MiB, 768 of 384 MiB, and an hour of a lecture
// has more. Their number is what the time over the lower bound depends on: until
// everybody has a first piece to pass on, a piece takes a few hops whatever the
// file, and more of them in a larger class. Short as they are here, pieces cost
// more than ordinary ones: the words about each are eight times as many per byte.
func ordinary(peers int) class {
	c := class{
		peers: peers, pieces: 384, pieceLength: 64 << 10, bitsPerSecond: 20_000_000,
		delay: 5 * time.Millisecond, seed: 1,
	}
	switch {
	case peers > largest: // or it would take hours
		c.pieces, c.pieceLength, c.bitsPerSecond = 256, c.pieceLength/2, c.bitsPerSecond/2
	case peers > 32:
		c.pieces = 768
	}
	return c
}

// handout is what "p2pshare compare" measures with its defaults, in virtual time:
// 16 MiB, and all have limits of 8 MiB/s on links that are much faster.
func handout(peers int) class {
	return class{
		peers: peers, pieces: 128, pieceLength: protocol.MinPieceLength, bitsPerSecond: 1_000_000_000,
		delay: 100 * time.Microsecond, seed: 1, limit: 8 << 20,
	}
}

// partners is how many others a download opens links to at most. In a larger
// class everybody has as many at random: so does a node that knows more.
const partners = 30

// acquaint draws for each member whom it downloads from; nobody for the seeder,
// member 0.
func (c class) acquaint() [][]int {
	rng := rand.New(rand.NewPCG(c.seed, 2))
	known := make([][]int, c.peers+1)
	for i := 1; i <= c.peers; i++ {
		for _, j := range rng.Perm(c.peers + 1) {
			if j != i && len(known[i]) < partners {
				known[i] = append(known[i], j)
			}
		}
	}
	return known
}

// lesson is what came of a class.
type lesson struct {
	took   []time.Duration // in order
	bound  time.Duration
	copies float64 // that the seeder sent
	waste  float64 // of all that was fetched
}

func (l lesson) slowest() time.Duration { return l.took[len(l.took)-1] }
func (l lesson) ratio() float64         { return float64(l.slowest()) / float64(l.bound) }
func (l lesson) spread() float64 {
	return float64(l.slowest()) / float64(l.took[len(l.took)/2])
}

// lessonHead names the columns of lessons.
const lessonHead = "peers  time over lower bound  seeder copies  slowest over median  % wasted"

func (l lesson) String() string {
	return fmt.Sprintf("%5d  %21.2f  %13.2f  %19.2f  %8.1f", len(l.took), l.ratio(), l.copies, l.spread(), 100*l.waste)
}

// member is one node of a class.
type member struct {
	host   libp2phost.Host
	copy   *copyOf
	server *piece.Server
	swarm  *swarm.Swarm
	took   time.Duration
}

func newMember(h libp2phost.Host, src *source, complete bool, seed uint64, limit int64) *member {
	var up, down *piece.Limit
	if limit > 0 {
		up, down = piece.NewLimit(limit), piece.NewLimit(limit)
	}
	m := &member{host: h, copy: &copyOf{source: src, have: make([]bool, len(src.manifest.Pieces)), tell: map[int]func(int){}}}
	for i := range m.copy.have {
		m.copy.have[i] = complete
	}
	m.server = piece.NewServer(piece.ServerConfig{
		Host: h, Limit: up,
		Admit: func(_ context.Context, remote peer.ID, _ []byte, _ protocol.FileID) (gate.Grant, piece.Content, error) {
			return gate.Grant{Peer: remote, Expires: time.Now().Add(24 * time.Hour)}, m.copy, nil
		},
	})
	if complete {
		return m
	}
	buffers := new(piece.Buffers)
	m.swarm = swarm.New(swarm.Config{
		File: m.copy, Rate: limit, Shared: swarm.NewShared(64*src.manifest.PieceLength, 4), Seed: seed,
		Dial: func(ctx context.Context, p swarm.Peer, sink func(piece.Event)) (swarm.Link, error) {
			c, err := piece.Open(ctx, piece.OpenConfig{
				Host: h, Peer: p.ID, Manifest: src.manifest, Ticket: []byte("member"), Buffers: buffers, Sink: sink, Limit: down,
			})
			if err != nil {
				return nil, err
			}
			return c, nil
		},
	})
	return m
}

// run plays the class in a bubble of virtual time.
func (c class) run(t *testing.T) (out lesson) {
	src := newSource(c)
	synctest.Test(t, func(t *testing.T) {
		// As many flows as the queues of Linux tell apart.
		link := simnet.LinkSettings{BitsPerSecond: c.bitsPerSecond, FlowBucketCount: 1024}
		network, meta, err := simlibp2p.SimpleLibp2pNetwork([]simlibp2p.NodeLinkSettingsAndCount{
			{LinkSettings: simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}, Count: c.peers + 1},
		}, simnet.StaticLatency(c.delay), simlibp2p.NetworkSettings{UseBlankHost: true})
		if err != nil {
			t.Fatal(err)
		}
		network.Start()
		defer network.Close()
		var members []*member
		for i, h := range meta.Nodes {
			members = append(members, newMember(h, src, i == 0, c.seed+uint64(i), c.limit))
		}
		known := c.acquaint()
		c.introduce(t, members, known)
		out = c.teach(t, members, known)
		for _, m := range members {
			if err := m.server.Close(); err != nil {
				t.Error(err)
			}
		}
		for _, m := range members {
			_ = m.host.Close()
		}
	})
	return out
}

// introduce connects members to those whom they know, a few at a time: what that
// costs does not shrink with the pieces, so it is not part of the lesson.
func (c class) introduce(t *testing.T, members []*member, known [][]int) {
	const atOnce = 8
	var connecting sync.WaitGroup
	for i, m := range members {
		connecting.Go(func() {
			var few sync.WaitGroup
			places := make(chan struct{}, atOnce)
			for _, j := range known[i] {
				other := members[j].host
				m.host.Peerstore().AddAddrs(other.ID(), other.Addrs(), peerstore.PermanentAddrTTL)
				if j < i && slices.Contains(known[j], i) {
					continue // it connects to this one
				}
				places <- struct{}{}
				few.Go(func() {
					defer func() { <-places }()
					if err := m.host.Connect(t.Context(), peer.AddrInfo{ID: other.ID()}); err != nil {
						t.Error(err)
					}
				})
			}
			few.Wait()
		})
	}
	connecting.Wait()
}

// teach starts all downloads at once and waits for them.
func (c class) teach(t *testing.T, members []*member, known [][]int) (out lesson) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	began := time.Now()
	var running sync.WaitGroup
	for i, m := range members[1:] {
		for _, j := range known[i+1] {
			m.swarm.AddPeer(swarm.Peer{ID: members[j].host.ID()})
		}
	}
	for _, m := range members[1:] {
		running.Go(func() {
			if err := m.swarm.Run(ctx); err != nil {
				t.Error(err)
			}
			m.took = time.Since(began)
		})
	}
	running.Wait()
	size := float64(members[0].copy.manifest.Size)
	var wasted int64
	for _, m := range members[1:] {
		out.took = append(out.took, m.took)
		wasted += m.swarm.Progress().Wasted
	}
	slices.Sort(out.took)
	// Equal links: the file has to leave the seeder once, reach each member
	// once, and cross all uplinks together once for each member.
	link := float64(c.bitsPerSecond) / 8
	if c.limit > 0 {
		link = float64(c.limit)
	}
	n := float64(c.peers)
	out.bound = time.Duration(max(size/link, n*size/(link*(n+1))) * float64(time.Second))
	out.copies = float64(members[0].server.Stats().Bytes) / size
	out.waste = float64(wasted) / (n * size)
	return out
}

// TestClassNearsTheLowerBound prints a line for each class. P2PSHARE_PEERS are
// the numbers of members, with commas.
func TestClassNearsTheLowerBound(t *testing.T) {
	fmt.Fprintf(t.Output(), "%s  (took)\n", lessonHead)
	for _, n := range sizes(t, 4) {
		l := play(t, ordinary(n))
		if most := farthest(n); l.ratio() > most {
			t.Errorf("%d peers: %.2f times the lower bound, want %.2f at most", n, l.ratio(), most)
		}
	}
}

// farthest is how many times its lower bound a class may take. The largest has too
// few pieces for its members, see ordinary, and its mark keeps what is there.
func farthest(members int) float64 {
	if members > largest {
		return 1.55
	}
	return 1.25
}

// TestHandoutNearsTheLowerBound does the same for a short file.
func TestHandoutNearsTheLowerBound(t *testing.T) {
	fmt.Fprintf(t.Output(), "%s  (took)\n", lessonHead)
	for _, n := range sizes(t, 4) {
		const most = 1.15
		if l := play(t, handout(n)); l.ratio() > most {
			t.Errorf("%d peers: %.2f times the lower bound, want %.2f at most", n, l.ratio(), most)
		}
	}
}

// sizes are those of P2PSHARE_PEERS, or one.
func sizes(t *testing.T, one int) []int {
	text := os.Getenv("P2PSHARE_PEERS")
	if text == "" {
		return []int{one}
	}
	var sizes []int
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 {
			t.Fatalf("P2PSHARE_PEERS=%s: numbers of members with commas between them", text)
		}
		sizes = append(sizes, n)
	}
	return sizes
}

// play runs a class and prints its line.
func play(t *testing.T, c class) lesson {
	// Hardly anything in a bubble runs side by side, and on one processor nothing
	// looks for something to do meanwhile: it takes a quarter less time.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	began := time.Now()
	l := c.run(t)
	fmt.Fprintf(t.Output(), "%v  (%v)\n", l, time.Since(began).Round(time.Second))
	if l.copies >= 2 {
		t.Errorf("%d peers: the seeder sent %.2f copies, want less than 2", c.peers, l.copies)
	}
	return l
}
