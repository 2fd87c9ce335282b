package replica_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	logging "github.com/ipfs/go-log/v2"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"go.uber.org/zap/zapcore"
	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// capturedLog keeps what the process logs while a test runs.
type capturedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (c *capturedLog) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.Write(p)
}

func (c *capturedLog) Sync() error { return nil }

// lines returns the lines about refusals by a tracker.
func (c *capturedLog) lines(from string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for line := range strings.Lines(c.b.String()) {
		if strings.Contains(line, "refused what a tracker sent") && strings.Contains(line, from) {
			n++
		}
	}
	return n
}

// captureLog replaces where the packages log, for tests that do not run beside others.
func captureLog(t *testing.T) *capturedLog {
	t.Helper()
	c := &capturedLog{}
	old := logging.GetConfig()
	logging.SetupLogging(logging.Config{
		Format: logging.PlaintextOutput, Level: logging.LevelError,
		SubsystemLevels: map[string]logging.LogLevel{"p2pshare/replica": logging.LevelInfo},
	})
	logging.SetPrimaryCore(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "m"}), c, zapcore.DebugLevel))
	t.Cleanup(func() { logging.SetupLogging(old) })
	return c
}

// TestBadInput has a tracker of the list send what no tracker sends, a hundred
// times each, on the sync stream and on the topic: nothing of it is taken in,
// all is counted, each kind is logged once, and the others stay in step.
func TestBadInput(t *testing.T) {
	const times = 100
	logged := captureLog(t)
	nodes := cluster(t, 3)
	honest, bad := nodes[:2], nodes[2] // on the list, without a replica
	for _, nd := range honest {
		nd.start(true, nodes...)
	}
	for _, nd := range honest {
		nd.awaitReady()
	}
	await(t, "the honest ones are connected", func() bool { return len(honest[0].Connected()) == 1 && len(honest[1].Connected()) == 1 })
	network := honest[0].Network()
	ps, err := pubsub.NewGossipSub(t.Context(), bad.host, pubsub.WithFloodPublish(true), pubsub.WithGossipSubProtocols(
		[]p2pproto.ID{protocol.GossipProtocol},
		func(f pubsub.GossipSubFeature, _ p2pproto.ID) bool {
			return pubsub.GossipSubDefaultFeatures(f, pubsub.GossipSubID_v12)
		}))
	if err != nil {
		t.Fatal(err)
	}
	topic, err := ps.Join(protocol.StateTopic)
	if err != nil {
		t.Fatal(err)
	}
	for _, nd := range honest {
		if err := bad.host.Connect(t.Context(), nd.info()); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the honest ones listen", func() bool { return len(topic.ListPeers()) == 2 })

	before := time.Now().Add(-time.Minute).UnixMilli()
	stamp := &pb.Stamp{WallMs: before, Origin: bad.id.String()}
	ada := userID("ada")
	honest[0].must(func(*catalog.Catalog) []catalog.Draft { return catalog.SetDisabled(ada, true) })
	awaitEqual(t, honest...)
	held := catalog.SetDisabled(ada, false)[0] // as it was before, so he says
	fine := catalog.SetDisabled(userID("bob"), true)[0]
	facts := map[string]*pb.Fact{
		"replayed":        {Key: string(held.Key), Value: held.Value, Stamp: stamp},
		"malformed key":   {Key: "disabled/../../etc", Value: fine.Value, Stamp: stamp},
		"malformed value": {Key: string(fine.Key), Value: []byte{7}, Stamp: stamp},
		"no stamp":        {Key: string(fine.Key), Value: fine.Value},
		"oversized":       {Key: string(fine.Key), Value: make([]byte, protocol.MaxFactValue+1), Stamp: stamp},
		"from the future": {Key: string(fine.Key), Value: fine.Value, Stamp: &pb.Stamp{
			WallMs: time.Now().Add(24 * time.Hour).UnixMilli(), Origin: bad.id.String(),
		}},
	}
	for name, f := range facts {
		for range times {
			if _, err := rawCall(t, bad.host, honest[0], &pb.SyncRequest{Body: &pb.SyncRequest_StoreFacts{
				StoreFacts: &pb.StoreFacts{Facts: []*pb.Fact{f}},
			}}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if name == "oversized" {
			continue // the topic's own limit is below
		}
		data, err := proto.Marshal(&pb.Gossip{NetworkId: network[:], Facts: []*pb.Fact{f}})
		if err != nil {
			t.Fatal(err)
		}
		for range times {
			if err := topic.Publish(t.Context(), data); err != nil {
				t.Fatal(err)
			}
		}
	}
	many := &pb.Gossip{NetworkId: network[:], Withheld: make([]*pb.FactID, protocol.MaxElements+1)}
	for i := range many.Withheld {
		many.Withheld[i] = &pb.FactID{}
	}
	tooMany, err := proto.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{tooMany, []byte("\xff\xff\xff"), make([]byte, 50<<10)} {
		for range times {
			if err := topic.Publish(t.Context(), data); err != nil {
				t.Fatal(err)
			}
		}
	}
	// All of what came on the stream; on the topic, where queues drop, some of
	// each kind. The other tracker has heard the topic alone.
	await(t, "what came is counted", func() bool {
		got := honest[0].RefusedOf(bad.id.String())
		return got["replayed fact"] >= times && got["malformed fact"] >= 3*times && got["oversized"] >= times && got["malformed message"] > 0
	})
	await(t, "each kind on the topic is counted", func() bool {
		got := honest[1].RefusedOf(bad.id.String())
		return got["replayed fact"] > 0 && got["malformed fact"] > 0 && got["oversized"] > 0 && got["malformed message"] > 0
	})
	// Each of the two has logged each of the four reasons once.
	await(t, "all that is refused is logged", func() bool { return logged.lines(bad.id.String()) >= 2*4 })
	for i, nd := range honest {
		if n := nd.facts(); n != 1 {
			t.Errorf("tracker %d has %d facts, want the one", i, n)
		}
		nd.View(func(c *catalog.Catalog) {
			if f, _ := c.Get(held.Key); bytes.Equal(f.Value, held.Value) {
				t.Errorf("tracker %d: the replayed fact has won", i)
			}
		})
	}
	honest[1].must(func(*catalog.Catalog) []catalog.Draft { return catalog.SetDisabled(userID("carol"), true) })
	awaitEqual(t, honest...)
	if n := logged.lines(bad.id.String()); n != 2*4 {
		t.Errorf("%d lines are logged about it, want one for each reason and tracker", n)
	}
}
