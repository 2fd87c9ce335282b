package replica

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

const (
	// maxStreams is how many requests of one tracker may be served at a time, and
	// maxWaiting how many more may wait for their turn, requestTimeout at most.
	// Beyond that they are refused unread.
	maxStreams = 16
	maxWaiting = 32
	// serveTimeout bounds one request from its first byte to its last reply.
	serveTimeout = 30 * time.Second
	// requestTimeout bounds the time a request takes to arrive.
	requestTimeout = 5 * time.Second
	// maxListed bounds the facts that one GetFactIDs may ask for: what maxFrames
	// can carry. The largest unit of the digest tree is one user in one group, with
	// all files that he has ever shared there.
	maxListed = maxFrames * protocol.MaxElements / 2
	// frameBytes is how much goes into one frame, with room for the last element.
	frameBytes = protocol.MaxSync - protocol.MaxFactValue - 8<<10
)

// serveStream answers one request of a tracker of the list. A stranger learns
// nothing but that there is such a protocol.
func (r *Replica) serveStream(s network.Stream) {
	l := r.links.get(s.Conn().RemotePeer())
	if l == nil || !r.tasks.begin() {
		_ = s.Reset()
		return
	}
	defer r.tasks.end()
	if !l.enter(r.ctx) {
		_ = s.Reset()
		return
	}
	defer l.leave()
	defer func() {
		if p := recover(); p != nil {
			log.Errorw("serve a tracker", "tracker", l.name, "err", p, "stack", string(debug.Stack()))
			_ = s.Reset()
		}
	}()
	ctx, cancel := context.WithTimeout(r.ctx, serveTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	if err := r.serve(ctx, l, s); err != nil {
		log.Debugw("serve a tracker", "tracker", l.name, "err", err)
		_ = s.Reset()
		return
	}
	_ = s.Close()
}

// enter waits for the turn of a request; leave must follow if it comes.
func (l *link) enter(ctx context.Context) bool {
	select {
	case l.slots <- struct{}{}:
		return true
	default:
	}
	select {
	case l.waiting <- struct{}{}:
		defer func() { <-l.waiting }()
	default:
		return false
	}
	limit := time.NewTimer(requestTimeout)
	defer limit.Stop()
	select {
	case l.slots <- struct{}{}:
		return true
	case <-limit.C:
	case <-ctx.Done():
	}
	return false
}

func (l *link) leave() { <-l.slots }

func (r *Replica) serve(ctx context.Context, l *link, s network.Stream) error {
	if err := s.SetReadDeadline(time.Now().Add(requestTimeout)); err != nil {
		return err
	}
	req := new(pb.SyncRequest)
	out := &replies{r: r, s: s}
	if err := wire.NewReader(s, protocol.MaxSync).Read(req); err != nil {
		r.refuseError(l.name, err)
		switch {
		case errors.Is(err, wire.ErrTooLong):
			err = protocol.Errorf(protocol.CodeLimit, "limit reached: a request may have %d bytes", protocol.MaxSync)
		case errors.Is(err, proto.Error):
			err = protocol.Errorf(protocol.CodeUsage, "the request is not a message of this protocol")
		default:
			return err // the stream's
		}
		return out.send(&pb.SyncReply{Failure: wire.ToFailure(err, "")})
	}
	err := r.heard(l, req.GetHello(), 0)
	if err == nil {
		err = r.answer(ctx, l, req, out)
	}
	if _, broken := errors.AsType[*sendError](err); broken {
		return err
	}
	if err != nil {
		if protocol.CodeOf(err) == protocol.CodeInternal {
			log.Errorw("serve a tracker", "tracker", l.name, "err", err)
		}
		r.refuseRequest(l.name, req, err)
		return out.send(&pb.SyncReply{Failure: wire.ToFailure(err, "")})
	}
	return nil
}

// replies sends the frames of one reply; the first carries the hello.
type replies struct {
	r     *Replica
	s     network.Stream
	begun bool
}

// sendError is a failure of the stream, behind which nothing can be said any more.
type sendError struct{ err error }

func (e *sendError) Error() string { return "send reply: " + e.err.Error() }
func (e *sendError) Unwrap() error { return e.err }

func (o *replies) send(reply *pb.SyncReply) error {
	if !o.begun {
		reply.Hello = o.r.hello()
		o.begun = true
	}
	if err := o.s.SetWriteDeadline(time.Now().Add(requestTimeout)); err != nil {
		return &sendError{err}
	}
	if err := wire.Write(o.s, reply); err != nil {
		return &sendError{err}
	}
	return nil
}

func (r *Replica) answer(ctx context.Context, l *link, req *pb.SyncRequest, out *replies) error {
	switch body := req.GetBody().(type) {
	case *pb.SyncRequest_GetDigests:
		return r.answerDigests(l, req.GetHello(), body.GetDigests, out)
	case *pb.SyncRequest_GetFactIds:
		return r.answerFactIDs(body.GetFactIds, out)
	case *pb.SyncRequest_GetFacts:
		return r.answerFacts(body.GetFacts, out)
	case *pb.SyncRequest_StoreFacts:
		return r.answerStore(ctx, l, body.StoreFacts, out)
	case *pb.SyncRequest_ReserveNames:
		return r.answerReserve(body.ReserveNames, out)
	case *pb.SyncRequest_ReleaseNames:
		r.names.release(string(body.ReleaseNames.GetToken()))
		return out.send(&pb.SyncReply{Body: &pb.SyncReply_Released{Released: &pb.ReleaseNamesReply{}}})
	case *pb.SyncRequest_GetBlob:
		return r.answerBlob(body.GetBlob, out)
	case *pb.SyncRequest_GetPresence:
		return r.answerPresence(body.GetPresence, out)
	default:
		return protocol.Errorf(protocol.CodeVersion, "this tracker does not know the request")
	}
}

// answerDigests tells the children of nodes, or the root. Asking for the root
// begins a round: if the caller's root differs, or its presence, there is news
// there too.
func (r *Replica) answerDigests(l *link, h *pb.SyncHello, q *pb.GetDigests, out *replies) error {
	if err := checkPrefixes(q.GetPrefixes()); err != nil {
		return err
	}
	if err := wire.CheckElements(16 * len(q.GetPrefixes())); err != nil {
		return err
	}
	var nodes []catalog.Node
	r.View(func(c *catalog.Catalog) {
		if len(q.GetPrefixes()) == 0 {
			nodes = append(nodes, r.rootNode())
		}
		for _, p := range q.GetPrefixes() {
			nodes = append(nodes, c.Children(string(p))...)
		}
	})
	if len(q.GetPrefixes()) == 0 && (string(h.GetRoot()) != string(nodes[0].Digest[:]) || !l.isConnected() || r.lacksPresence(l, h)) {
		l.nudge()
	}
	digests := &pb.Digests{}
	for _, n := range nodes {
		digests.Nodes = append(digests.Nodes, &pb.NodeDigest{
			Prefix: []byte(n.Prefix), Digest: n.Digest[:], Facts: uint32(n.Facts),
		})
	}
	return out.send(&pb.SyncReply{Body: &pb.SyncReply_Digests{Digests: digests}})
}

func checkPrefixes(prefixes [][]byte) error {
	if err := wire.CheckElements(len(prefixes)); err != nil {
		return err
	}
	for _, p := range prefixes {
		if len(p) > catalog.MaxDepth {
			return protocol.Errorf(protocol.CodeUsage, "a prefix is too long")
		}
	}
	return nil
}

// answerFactIDs lists key and stamp of all facts below some nodes, in as many
// frames as it takes.
func (r *Replica) answerFactIDs(q *pb.GetFactIDs, out *replies) error {
	if err := checkPrefixes(q.GetPrefixes()); err != nil {
		return err
	}
	facts, whole := r.factsUnder(q.GetPrefixes())
	if !whole {
		return protocol.Errorf(protocol.CodeLimit, "limit reached: %d facts in one list", maxListed)
	}
	frame, size := &pb.FactIDs{}, 0
	for i, f := range facts {
		id := toFactID(f)
		frame.Ids = append(frame.Ids, id)
		size += proto.Size(id) + 8
		if i < len(facts)-1 && (len(frame.Ids) == protocol.MaxElements || size > frameBytes) {
			if err := out.send(&pb.SyncReply{Body: &pb.SyncReply_FactIds{FactIds: frame}}); err != nil {
				return err
			}
			frame, size = &pb.FactIDs{}, 0
		}
	}
	return out.send(&pb.SyncReply{Body: &pb.SyncReply_FactIds{FactIds: frame}})
}

func (r *Replica) factsUnder(prefixes [][]byte) (facts []catalog.Fact, whole bool) {
	r.state.mu.RLock()
	defer r.state.mu.RUnlock()
	for _, p := range prefixes {
		for f := range r.state.cat.FactsUnder(string(p)) {
			if _, pending := r.state.pending[f.Key]; pending {
				continue
			}
			if len(facts) == maxListed {
				return nil, false
			}
			facts = append(facts, f)
		}
	}
	return facts, true
}

// answerFacts hands out facts by their keys, in as many frames as it takes.
func (r *Replica) answerFacts(q *pb.GetFacts, out *replies) error {
	if err := wire.CheckElements(len(q.GetKeys())); err != nil {
		return err
	}
	var facts []*pb.Fact
	r.state.mu.RLock()
	for _, k := range q.GetKeys() {
		key := catalog.Key(k)
		if _, pending := r.state.pending[key]; pending {
			continue
		}
		if f, ok := r.state.cat.Get(key); ok {
			facts = append(facts, toFact(f))
		}
	}
	r.state.mu.RUnlock()
	frame, size := &pb.Facts{}, 0
	for i, f := range facts {
		frame.Facts = append(frame.Facts, f)
		size += proto.Size(f) + 8
		if size > frameBytes && i < len(facts)-1 {
			if err := out.send(&pb.SyncReply{Body: &pb.SyncReply_Facts{Facts: frame}}); err != nil {
				return err
			}
			frame, size = &pb.Facts{}, 0
		}
	}
	return out.send(&pb.SyncReply{Body: &pb.SyncReply_Facts{Facts: frame}})
}
