package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	logging "github.com/ipfs/go-log/v2"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

const (
	// maxGossipData leaves room in protocol.MaxGossip for signature and framing.
	maxGossipData = 48 << 10
	// gossipQueue is how many messages may wait to be published; more are
	// dropped, and what they tell comes by exchange.
	gossipQueue = 256
)

var errStranger = errors.New("not a tracker of the list")

// gossip is this tracker's part in the topic of changes.
type gossip struct {
	r     *Replica
	topic *pubsub.Topic
	sub   *pubsub.Subscription
	out   chan []byte
}

// openGossip joins the topic. pubsub's peer filter alone keeps nobody out: it
// is not asked about floodsub peers nor when a message is flooded. So there is
// one protocol, under a name of its own, strangers cannot subscribe, and all
// that a stranger sends is dropped unread.
func (r *Replica) openGossip() error {
	only := p2pproto.ID(protocol.GossipProtocol)
	features := func(f pubsub.GossipSubFeature, p p2pproto.ID) bool {
		return p == only && pubsub.GossipSubDefaultFeatures(f, pubsub.GossipSubID_v12)
	}
	ps, err := pubsub.NewGossipSub(r.ctx, r.cfg.Host,
		pubsub.WithGossipSubProtocols([]p2pproto.ID{only}, features),
		pubsub.WithSubscriptionFilter(subscriptions{&r.links}),
		pubsub.WithPeerFilter(func(p peer.ID, _ string) bool { return r.links.has(p) }),
		pubsub.WithAppSpecificRpcInspector(func(p peer.ID, _ *pubsub.RPC) error {
			if !r.links.has(p) {
				return errStranger
			}
			return nil
		}),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictSign),
		pubsub.WithMaxMessageSize(protocol.MaxGossip),
		pubsub.WithPeerExchange(false),
		pubsub.WithFloodPublish(false),
		pubsub.WithLogger(slog.New(pubsubLog())),
	)
	if err != nil {
		return err
	}
	if err := ps.RegisterTopicValidator(protocol.StateTopic, r.validate, pubsub.WithValidatorInline(true)); err != nil {
		return err
	}
	g := &gossip{r: r, out: make(chan []byte, gossipQueue)}
	if g.topic, err = ps.Join(protocol.StateTopic); err != nil {
		return err
	}
	if g.sub, err = g.topic.Subscribe(pubsub.WithBufferSize(gossipQueue)); err != nil {
		return err
	}
	r.gossip = g
	return nil
}

// pubsubLog is where pubsub logs. The name gives it the level that go-log has
// for it; without one everything would be written, and take more time than the work.
func pubsubLog() slog.Handler {
	return logging.SlogHandler().WithAttrs([]slog.Attr{slog.String("logger", "pubsub")})
}

func (g *gossip) close() {
	g.sub.Cancel()
	_ = g.topic.Close() // pubsub has ended with the context already
}

// subscriptions lets trackers of the list subscribe to the one topic.
type subscriptions struct{ roster *links }

func (s subscriptions) CanSubscribe(topic string) bool { return topic == protocol.StateTopic }

func (s subscriptions) FilterIncomingSubscriptions(from peer.ID, subs []*pubsubpb.RPC_SubOpts) ([]*pubsubpb.RPC_SubOpts, error) {
	if !s.roster.has(from) {
		return nil, errStranger
	}
	return pubsub.FilterSubscriptions(subs, s.CanSubscribe), nil
}

// validate refuses what is not from a tracker of the list, at either end, too
// long, or not a message at all. What it decoded stays with the message.
func (r *Replica) validate(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	if from == r.self {
		return pubsub.ValidationAccept
	}
	reject := func(why reason, err error) pubsub.ValidationResult {
		author := ""
		if l := r.links.get(m.GetFrom()); l != nil {
			author = l.name
		}
		r.refuse(author, why, err)
		return pubsub.ValidationReject
	}
	if !r.links.has(from) || m.GetFrom() != r.self && !r.links.has(m.GetFrom()) {
		return reject(stranger, errStranger)
	}
	if len(m.Data) > maxGossipData {
		return reject(oversized, wire.ErrTooLong)
	}
	g := new(pb.Gossip)
	if err := (proto.UnmarshalOptions{RecursionLimit: 8}).Unmarshal(m.Data, g); err != nil {
		return reject(malformedMessage, err)
	}
	if err := checkGossip(g); err != nil {
		if protocol.CodeOf(err) == protocol.CodeLimit {
			return reject(oversized, err)
		}
		return reject(malformedMessage, err)
	}
	m.ValidatorData = g
	return pubsub.ValidationAccept
}

func checkGossip(g *pb.Gossip) error {
	if err := wire.CheckElements(len(g.GetFacts()), len(g.GetWithheld())); err != nil {
		return err
	}
	for _, f := range g.GetFacts() {
		if catalog.IsVerifier(catalog.Key(f.GetKey())) {
			return errors.New("a password verifier must not travel by gossip")
		}
	}
	return checkLeases(g.GetPresence().GetLeases())
}

// publish sends what waits, in order.
func (g *gossip) publish() {
	for {
		select {
		case <-g.r.ctx.Done():
			return
		case data := <-g.out:
			if err := g.topic.Publish(g.r.ctx, data); err != nil {
				log.Debugw("publish", "err", err)
			}
		}
	}
}

// spread tells the others of facts that were written here.
func (g *gossip) spread(facts []catalog.Fact) {
	m, size := &pb.Gossip{}, 0
	for _, f := range facts {
		n := len(f.Key) + len(f.Stamp.Origin) + 64 // more than tags, lengths and stamp take
		withhold := catalog.IsVerifier(f.Key)
		if !withhold {
			n += len(f.Value)
		}
		if size > 0 && (size+n > maxGossipData-64 || len(m.GetFacts())+len(m.GetWithheld()) == protocol.MaxElements) {
			g.send(m)
			m, size = &pb.Gossip{}, 0
		}
		if withhold {
			m.Withheld = append(m.Withheld, toFactID(f))
		} else {
			m.Facts = append(m.Facts, toFact(f))
		}
		size += n
	}
	if size > 0 {
		g.send(m)
	}
}

// send queues a message; one that does not fit in the queue or the topic is
// left to the exchange, which is asked for.
func (g *gossip) send(m *pb.Gossip) {
	id := g.r.Network()
	if id.IsZero() {
		return
	}
	m.NetworkId = id[:]
	data, err := proto.Marshal(m)
	if err == nil && len(data) > maxGossipData {
		err = fmt.Errorf("%d bytes are too many", len(data))
	}
	if err == nil {
		select {
		case g.out <- data:
			return
		default:
			err = errors.New("queue full")
		}
	}
	log.Debugw("leave a change to the exchange", "err", err)
	for _, l := range g.r.links.connected() {
		l.nudge()
	}
}

// receive takes in what others tell.
func (g *gossip) receive() {
	for {
		m, err := g.sub.Next(g.r.ctx)
		if err != nil {
			return // closed
		}
		body, ok := m.ValidatorData.(*pb.Gossip)
		if ok && m.GetFrom() != g.r.self {
			g.take(m.GetFrom(), body)
		}
	}
}

// take is takeHint behind a barrier: a hint must not end the tracker.
func (g *gossip) take(author peer.ID, body *pb.Gossip) {
	defer func() {
		if p := recover(); p != nil {
			log.Errorw("panic over a gossip message", "tracker", author.String(), "cause", p, "stack", string(debug.Stack()))
		}
	}()
	g.r.takeHint(author, body)
}

// takeHint queues the facts of a message for the next commit. If the queue is
// full they are dropped.
func (r *Replica) takeHint(author peer.ID, g *pb.Gossip) {
	id, err := protocol.IDFromBytes[protocol.NetworkID](g.GetNetworkId())
	l := r.links.get(author)
	if err != nil || l == nil || id != r.Network() || id.IsZero() {
		return
	}
	facts, _ := r.fromFacts(l.name, g.GetFacts())
	now, _ := r.present(facts)
	if len(now) > 0 && !r.hint(func(t *txn) error { t.mergePushed(l.name, now); return nil }) {
		log.Debugw("drop a gossip message", "tracker", l.name)
	}
	r.announced(l, g.GetWithheld())
	if d := g.GetPresence(); d != nil {
		r.takeDelta(l, d)
	}
}
