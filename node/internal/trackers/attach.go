package trackers

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"connectrpc.com/connect"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

const (
	// briefStream is what a push stream lasts at least at a tracker that works.
	// After one that did not another is opened at once, after more of them there
	// is a pause, that doubles from retryPace up to briefPause: less than
	// briefStream, so that two clients with one key, who end each other's
	// streams, go on being seen for what they are.
	briefStream = 5 * time.Second
	briefPause  = 4 * time.Second
)

// errReplaced ends the push stream of a session that is not in use any more.
var errReplaced = errors.New("the session has changed")

// errDropped ends a push stream at a tracker that the network has dropped from its list.
var errDropped = protocol.Errorf(protocol.CodeNoTracker, "it is no longer in the list of trackers")

// errSilent ends a push stream on which nothing comes, not even keep-alives.
var errSilent = protocol.Errorf(protocol.CodeNoTracker, "it has fallen silent")

// manage keeps one push stream open while there is a session, and delivers
// all signals: it is the one goroutine that calls the sink.
func (c *Client) manage() {
	moved, stop := c.watchAddrs()
	defer stop()
	lost := false
	brief := 0 // streams in a row that did not last
	for c.ctx.Err() == nil {
		c.deliver()
		s := c.currentSession()
		if s == nil {
			lost = false
			select {
			case <-c.wake:
			case <-c.ctx.Done():
			}
			continue
		}
		q := &queue{todo: c.known.candidates(nil, c.cfg.Now()), patient: true}
		held := false
		began := time.Now()
		for !held && c.currentSession() == s {
			t := c.ready(c.ctx, q)
			if t == nil {
				break
			}
			var err error
			began = time.Now()
			held, err = c.attach(t, s, moved)
			if held {
				lost = false
			}
			q.fail(t, err)
		}
		if held && time.Since(began) < briefStream {
			if brief++; brief > 1 && c.currentSession() == s {
				c.pause(min(retryPace<<(brief-2), briefPause))
			}
		} else {
			brief = 0
		}
		if held || c.ctx.Err() != nil || c.currentSession() != s {
			continue
		}
		if !lost {
			lost = true
			c.deliver()
			c.cfg.Sink(Lost{Err: q.err()})
		}
		c.pause(retryPace)
	}
}

// pause waits, and delivers meanwhile.
func (c *Client) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-c.wake:
			c.deliver()
			if c.currentSession() == nil {
				return
			}
		case <-c.ctx.Done():
			return
		}
	}
}

// watchAddrs returns a channel that tells when this host's addresses change.
func (c *Client) watchAddrs() (<-chan any, func()) {
	sub, err := c.cfg.Host.EventBus().Subscribe(new(event.EvtLocalAddressesUpdated))
	if err != nil {
		log.Errorw("cannot watch own addresses", "err", err)
		return nil, func() {}
	}
	return sub.Out(), func() { _ = sub.Close() }
}

// attach opens the push stream at a tracker and serves it until it ends. held
// tells whether the tracker had taken the lease.
func (c *Client) attach(t *tracker, s *session, moved <-chan any) (held bool, err error) {
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	id, _, _, _ := c.known.identity(t)
	rpc := c.rpcOf(t, id)
	events := make(chan *pb.Event)
	ended := make(chan error, 1)
	if !c.spawn(func() { ended <- c.receive(ctx, rpc, s, events) }) {
		return false, errClosed
	}
	var announcing chan struct{}
	defer func() {
		cancel(nil)
		if announcing != nil {
			<-announcing
		}
		if held {
			c.release(t, err)
		}
	}()
	silence := time.NewTimer(protocol.PushSilence)
	defer silence.Stop()
	take := func(e *pb.Event) (ended bool) {
		c.known.hear(t, c.cfg.Now())
		if !held {
			held, announcing = true, make(chan struct{})
			c.hold(t)
			go func() {
				defer close(announcing)
				if err := c.announce(ctx, rpc, moved); err != nil {
					cancel(err)
				}
			}()
		}
		ended = c.handle(t, s, e)
		silence.Reset(protocol.PushSilence) // the tracker was not silent while its event was handled
		return ended
	}
	for {
		select {
		case e := <-events:
			if take(e) {
				return held, errReplaced
			}
		case err := <-ended:
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return held, c.lose(t, id, s, err)
		case <-silence.C:
			select {
			case e := <-events: // it came while a signal was delivered
				if take(e) {
					return held, errReplaced
				}
			default:
				return held, c.lose(t, id, s, errSilent)
			}
		case <-c.wake:
			c.deliver()
			if now := c.currentSession(); now == nil || now.ID != s.ID {
				return held, errReplaced
			}
			if !c.known.trusted(id) {
				return held, errDropped
			}
		case <-c.ctx.Done():
			return held, errClosed
		}
	}
}

// receive reads the push stream until it ends.
func (c *Client) receive(ctx context.Context, rpc pb.TrackerServiceClient, s *session, events chan<- *pb.Event) error {
	req := connect.NewRequest(&pb.AttachRequest{Addrs: c.ownAddrs()})
	withSession(req.Header(), s.envelope)
	stream, err := rpc.Attach(ctx, req)
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		select {
		case events <- stream.Msg():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := stream.Err(); err != nil {
		return err
	}
	return protocol.Errorf(protocol.CodeNoTracker, "it closed the stream")
}

// hold notes that a tracker has the lease, and tells.
func (c *Client) hold(t *tracker) {
	c.mu.Lock()
	c.attached = t
	c.mu.Unlock()
	c.deliver()
	c.offers.begin()
	log.Infow("attached", "tracker", t.address)
	c.cfg.Sink(Attached{Address: t.address})
}

// release undoes hold.
func (c *Client) release(t *tracker, err error) {
	c.offers.end()
	c.mu.Lock()
	c.attached = nil
	c.mu.Unlock()
	log.Infow("detached", "tracker", t.address, "err", err)
	c.deliver()
	c.cfg.Sink(Detached{Address: t.address, Err: err})
}

// lose decides what the end of a stream says of the tracker and the session.
func (c *Client) lose(t *tracker, id peer.ID, s *session, err error) error {
	answered, err := classify(err)
	switch {
	case answered && protocol.CodeOf(err) == protocol.CodeSession:
		c.refused(c.ctx, s, err)
		return err
	case errors.Is(err, errSilent):
		// Calls under way there must not wait any longer either.
		_ = c.cfg.Host.Network().ClosePeer(id)
	}
	c.known.fail(t, c.cfg.Now())
	return err
}

// handle takes what concerns sessions and trackers out of the events and
// passes the others on. It returns true if the session has ended.
func (c *Client) handle(t *tracker, s *session, e *pb.Event) bool {
	switch body := e.GetBody().(type) {
	case *pb.Event_KeepAlive:
		c.skewed(c.clock.alive(t, body.KeepAlive.GetTime(), c.cfg.Now()))
		c.deliver()
		return false
	case *pb.Event_Roster:
		c.known.learn(t, body.Roster.GetTrackers())
		return false
	case *pb.Event_SessionRevoked:
		if string(body.SessionRevoked.GetSessionId()) == string(s.ID[:]) {
			if now := c.currentSession(); now != nil && now.ID == s.ID {
				c.logOut(now, protocol.Errorf(protocol.CodeSession, "this session was ended elsewhere; log in again"))
			}
			return true
		}
	}
	c.deliver()
	c.cfg.Sink(Pushed{Session: s.ID, Event: e})
	return false
}

// announce tells the tracker that holds the lease what is offered, and where
// this client is, until the context ends. It fails when the tracker does not
// take it: then another one must hold the lease.
func (c *Client) announce(ctx context.Context, rpc pb.TrackerServiceClient, moved <-chan any) error {
	for {
		req := c.offers.next()
		if req == nil {
			select {
			case <-ctx.Done():
				return nil
			case <-c.offers.kick:
				continue
			case _, ok := <-moved:
				if !ok {
					moved = nil
					continue
				}
				req = &pb.AnnounceRequest{Addrs: c.ownAddrs()}
			}
		}
		again, err := c.announceOnce(ctx, rpc, req)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // ended from outside: what became of the call is nobody's concern
		}
		if err != nil {
			return err
		}
		if again > 0 {
			select {
			case <-time.After(again):
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// announceOnce makes one announcement. again is how long to wait before the
// same one is tried again.
func (c *Client) announceOnce(ctx context.Context, rpc pb.TrackerServiceClient, req *pb.AnnounceRequest) (again time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerBudget)
	defer cancel()
	res, err := rpc.Announce(ctx, connect.NewRequest(req))
	if err == nil {
		c.offers.done(req)
		if refused := res.Msg.GetRefused(); len(refused) > 0 {
			c.post(Refused{Offers: refused})
		}
		return 0, nil
	}
	answered, err := classify(err)
	if e, ok := errors.AsType[*protocol.Error](err); ok && answered && (e.Code == protocol.CodeRate || e.Code == protocol.CodeBusy) {
		return cmp.Or(min(e.RetryAfter, 10*time.Second), time.Second), nil
	}
	return 0, err
}

// ownAddrs returns where members may reach this client: at most
// protocol.MaxAddrs, those of other machines' reach first, TCP before QUIC.
func (c *Client) ownAddrs() []string {
	addrs := slices.Clone(c.cfg.Host.Addrs())
	class := func(a ma.Multiaddr) int {
		n := 0
		if manet.IsIPLoopback(a) {
			n += 4
		}
		if manet.IsIP6LinkLocal(a) {
			n += 8
		}
		if _, err := a.ValueForProtocol(ma.P_TCP); err != nil {
			n++
		}
		return n
	}
	slices.SortStableFunc(addrs, func(a, b ma.Multiaddr) int { return cmp.Compare(class(a), class(b)) })
	var out []string
	for _, a := range addrs[:min(len(addrs), protocol.MaxAddrs)] {
		out = append(out, a.String())
	}
	return out
}
