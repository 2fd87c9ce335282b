package trackers

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"connectrpc.com/connect"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/gostream"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/dial"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// queue is the trackers that a call may still try, and why others failed.
type queue struct {
	todo  []*tracker
	fails []failure
	// ask allows questions to the user.
	ask bool
	// patient makes the next one wait longer before it is tried beside one that
	// has not answered yet.
	patient bool
	// early is those that were asked ahead of their turn, and where their
	// answer comes.
	early map[*tracker]chan error
}

type failure struct {
	tracker *tracker
	err     error
}

func (q *queue) fail(t *tracker, err error) { q.fails = append(q.fails, failure{t, err}) }

// err is what a person is told when no tracker is left.
func (q *queue) err() error {
	var reasons []string
	var refusal error
	for _, f := range q.fails {
		switch code := protocol.CodeOf(f.err); code {
		case protocol.CodeTrackerID, protocol.CodeTrackerNew:
			return f.err
		case protocol.CodeBusy, protocol.CodeTrackerFull:
			refusal = f.err
		default: // told with the others
		}
		reasons = append(reasons, f.tracker.address+": "+reason(f.err))
	}
	if refusal != nil {
		return refusal
	}
	if len(reasons) == 0 {
		reasons = []string{"none is known"}
	}
	return protocol.Errorf(protocol.CodeNoTracker, "no tracker reachable (%s)", strings.Join(reasons, "; "))
}

// reason says in a few words why a tracker failed.
func reason(err error) string {
	e, ok := errors.AsType[*protocol.Error](err)
	switch {
	case ok && e.Msg != "":
		return e.Msg
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to it"
	case errors.Is(err, context.DeadlineExceeded), connect.CodeOf(err) == connect.CodeDeadlineExceeded:
		return "no answer"
	}
	if d, ok := errors.AsType[*swarm.DialError](err); ok && len(d.DialErrors) > 0 {
		err = d.DialErrors[0].Cause
	} else if _, ok := errors.AsType[*url.Error](err); ok {
		return "the connection broke"
	}
	text, _, _ := strings.Cut(protocol.Printable(err.Error()), "\n")
	return text
}

// ready returns the first tracker of the queue that says hello, and takes it
// and those that failed out. While one lets itself be waited for, the next is
// tried beside it. Nil: none is left, or the context ended.
func (c *Client) ready(ctx context.Context, q *queue) *tracker {
	if len(q.todo) == 0 {
		return nil
	}
	if t := q.todo[0]; c.known.fresh(t, c.cfg.Now()) {
		q.todo = q.todo[1:]
		return t
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan failure, len(q.todo))
	running := map[*tracker]bool{}
	todo := q.todo
	start := func() {
		t := todo[0]
		todo = todo[1:]
		running[t] = true
		early := q.early[t]
		delete(q.early, t)
		if !c.spawn(func() { results <- failure{t, c.prepared(ctx, t, early, q.ask)} }) {
			results <- failure{t, net.ErrClosed}
		}
	}
	start()
	pace := min(stagger, staggerTotal/time.Duration(len(q.todo)))
	if q.patient {
		pace = patience
	}
	next := time.NewTicker(pace)
	defer next.Stop()
	for len(running) > 0 {
		select {
		case r := <-results:
			delete(running, r.tracker)
			if r.err == nil {
				q.todo = keepOrder(q.todo, running, todo)
				return r.tracker
			}
			q.fail(r.tracker, r.err)
			if c.stops(r) {
				q.todo = nil
				return nil
			}
			if len(todo) > 0 {
				start()
			}
		case <-next.C:
			// One that needs a question is not asked about while another may do.
			if len(todo) > 0 {
				if id, _, _, _ := c.known.identity(todo[0]); id != "" {
					start()
				}
			}
		case <-ctx.Done():
			q.todo = nil
			return nil
		}
	}
	q.todo = nil
	return nil
}

// stops reports whether a failure ends the call: the tracker at an address
// confirmed by hand is not who it was.
func (c *Client) stops(f failure) bool {
	_, pinLine, _, _ := c.known.identity(f.tracker)
	return pinLine > 0 && protocol.CodeOf(f.err) == protocol.CodeTrackerID
}

// keepOrder returns those of all that are running or still to do.
func keepOrder(all []*tracker, running map[*tracker]bool, todo []*tracker) []*tracker {
	var left []*tracker
	for _, t := range all[:len(all)-len(todo)] {
		if running[t] {
			left = append(left, t)
		}
	}
	return append(left, todo...)
}

// prepare connects to a tracker and has it say hello.
func (c *Client) prepare(ctx context.Context, t *tracker, ask bool) error {
	if err := c.identify(ctx, t, ask); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, dialBudget)
	defer cancel()
	err := c.hello(ctx, t)
	if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		c.known.fail(t, c.cfg.Now())
		log.Infow("tracker does not answer", "tracker", t.address, "err", err)
	}
	return err
}

// hello connects to a tracker and calls Hello.
func (c *Client) hello(ctx context.Context, t *tracker) error {
	id, pinLine, addrs, _ := c.known.identity(t)
	h := c.cfg.Host
	if err := dial.Connect(ctx, h, id, addrs, dial.Options{TCP: tcpBudget, Other: dialBudget}); err != nil {
		return c.dialError(t, pinLine, err)
	}
	res, err := c.rpcOf(t, id).Hello(ctx, connect.NewRequest(&pb.HelloRequest{}))
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			_ = h.Network().ClosePeer(id) // a dead connection looks alive for minutes
		}
		_, err = classify(err)
		return err
	}
	if err := c.check(res.Msg); err != nil {
		return err
	}
	c.known.hear(t, c.cfg.Now())
	c.known.learn(t, res.Msg.GetTrackers())
	return nil
}

// check decides by its hello whether a tracker can be used now.
func (c *Client) check(m *pb.HelloResponse) error {
	theirs, _, _ := strings.Cut(m.GetVersion(), ".")
	ours, _, _ := strings.Cut(protocol.Version, ".")
	if theirs != ours {
		return protocol.Errorf(protocol.CodeVersion, "the tracker speaks protocol %s, this client %s; please update", protocol.Printable(m.GetVersion()), protocol.Version)
	}
	id, err := protocol.IDFromBytes[protocol.NetworkID](m.GetNetworkId())
	if !m.GetServing() || err != nil {
		why := protocol.Printable(m.GetReason())
		if why == "" {
			why = "it has not caught up with the others yet"
		}
		return protocol.Errorf(protocol.CodeNoTracker, "not serving: %s", why)
	}
	if s := c.currentSession(); s != nil && s.Network != id {
		return protocol.Errorf(protocol.CodeNoTracker, "it belongs to another network than the session; log out and in again to use it")
	}
	c.known.mu.Lock()
	c.known.network = id
	c.known.mu.Unlock()
	return nil
}

// Network returns the id of the network that a tracker told last.
func (c *Client) Network() protocol.NetworkID {
	c.known.mu.Lock()
	defer c.known.mu.Unlock()
	return c.known.network
}

// rpcOf returns the service of a tracker. Streams to it are pooled.
func (c *Client) rpcOf(t *tracker, id peer.ID) pb.TrackerServiceClient {
	c.known.mu.Lock()
	defer c.known.mu.Unlock()
	if t.rpc != nil {
		return t.rpc
	}
	t.transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(network.WithDialPeerTimeout(ctx, dialBudget), dialBudget)
			defer cancel()
			return gostream.Dial(ctx, c.cfg.Host, id, protocol.TrackerProtocol)
		},
		DisableCompression: true,
		// A tracker allows 16 streams of one client; some are left for the
		// moment in which old ones are not gone yet.
		MaxConnsPerHost:     12,
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     30 * time.Second,
	}
	t.rpc = pb.NewTrackerServiceClient(&http.Client{Transport: t.transport}, "http://"+id.String(),
		connect.WithInterceptors(headers{client: c, tracker: t}),
		connect.WithAcceptCompression("gzip", nil, nil),
		connect.WithReadMaxBytes(protocol.MaxReply),
		connect.WithSendMaxBytes(protocol.MaxRequest),
	)
	return t.rpc
}
