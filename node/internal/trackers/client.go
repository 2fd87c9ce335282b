// Package trackers is a client's view of the trackers of its network as one
// service: a call is made at any live one and goes on at another when that
// fails; one push stream stays open while a session exists; sessions are
// renewed and logouts told. The node uses it. It knows trackers and their
// protocol, and nothing of what groups, files and events mean.
package trackers

import (
	"bytes"
	"context"
	"sync"
	"time"

	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/roster"
)

var log = logging.Logger("p2pshare/trackers")

const (
	// dialBudget is what one tracker may take to be connected and to say hello:
	// time for one that hundreds of clients come to at once from a dead one.
	dialBudget = 3 * time.Second
	// tcpBudget is what of it TCP gets before QUIC is tried.
	tcpBudget = 2 * time.Second
	// stagger is after how long the next tracker is tried beside one that has
	// not answered; spread over all of them it is at most staggerTotal, so that
	// the last one has failed within 5 s.
	stagger      = 600 * time.Millisecond
	staggerTotal = 1500 * time.Millisecond
	// patience takes the place of stagger where nobody waits for an answer: of
	// hundreds of clients that come from a dead tracker at once to a busy one,
	// none shall come to two.
	patience = 2 * time.Second
	// answerBudget is how long a connected tracker may take to answer: a login
	// may wait 5 s for its turn, a change 2 s for a second tracker's disk.
	answerBudget = 12 * time.Second
	// doubt is after how long without a word a tracker that owes an answer is
	// asked whether it is there: one keep-alive late.
	doubt = 1500 * time.Millisecond
	// signOfLife is how long it may take to that answer.
	signOfLife = 2 * time.Second
	// busyBudget is how long a call may go on because trackers ask to be tried
	// again in a moment, as one does that has not caught up with an account.
	busyBudget = 5 * time.Second
	// secondLook is the pause before the trackers are tried a second time when
	// all have refused in less than that.
	secondLook = 300 * time.Millisecond
	// coolDown is how long a tracker that failed is tried last.
	coolDown = 10 * time.Second
	// retryPace is the pause after all trackers have failed.
	retryPace = time.Second
	// tellPace is the pause between tries to tell of logouts.
	tellPace = 5 * time.Second
)

// Store keeps what a Client remembers across restarts. records.Records is one.
type Store interface {
	Learned() (map[string][]string, error)
	SetLearned(m map[string][]string) error
	Pending() ([][]byte, error)
	SetPending(envelopes [][]byte) error
}

// Config is what a Client needs.
type Config struct {
	Host host.Host
	// Entries is the list of the network's trackers, ListName the name of the
	// file it was read from, for messages; empty if there is none.
	Entries  []roster.Entry
	ListName string
	// PinFile keeps the ids confirmed for trackers that are listed without one.
	PinFile string
	Store   Store
	// Confirm is asked about a tracker that is listed without an id, before
	// anything is sent to it. Nil: such trackers are E_TRACKER_NEW.
	Confirm func(address, id string) bool
	// Sink gets the signals, in order, from one goroutine. It may block for as
	// long as tracker events may wait, which is not long.
	Sink func(Signal)
	// Now is the wall clock; nil for time.Now.
	Now func() time.Time
}

// Client is safe for concurrent use.
type Client struct {
	cfg    Config
	ctx    context.Context //nolint:containedctx // the lifetime of the client: ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	asking chan struct{} // one Confirm at a time
	wake   chan struct{} // the manager looks again
	tell   chan struct{} // the teller looks again
	// telling is held, by a value in it, by whoever tells of logouts.
	telling chan struct{}
	clock   clock
	known   known
	offers  offers

	mu       sync.Mutex
	closed   bool
	session  *session
	attached *tracker   // holds our lease; nil while none does
	signals  []Signal   // for the manager to deliver
	pending  [][]byte   // logouts not told yet
	told     *pb.Stored // where the last logout is stored; nil until it was told
}

// New returns a Client that knows its trackers and contacts nobody before
// Run. Errors: E_STATE.
func New(cfg Config) (*Client, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Client{
		cfg:     cfg,
		asking:  make(chan struct{}, 1),
		wake:    make(chan struct{}, 1),
		tell:    make(chan struct{}, 1),
		telling: make(chan struct{}, 1),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.offers.init()
	pins, err := readPins(cfg.PinFile)
	if err != nil {
		c.cancel()
		return nil, err
	}
	learned, err := cfg.Store.Learned()
	if err != nil {
		c.cancel()
		return nil, err
	}
	if c.pending, err = cfg.Store.Pending(); err != nil {
		c.cancel()
		return nil, err
	}
	c.known.init(c, pins, learned)
	return c, nil
}

// Run starts the goroutines that hold the push stream, renew the session and
// tell of logouts. It is called once, before or after SetSession.
func (c *Client) Run() {
	c.spawn(c.manage)
	c.spawn(c.renewSessions)
	c.spawn(c.tellLogouts)
}

// Close ends everything and waits for it.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
	c.known.close()
	return nil
}

// spawn runs f unless the client is closed; Close waits for it.
func (c *Client) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.wg.Go(f)
	return true
}

// Trusted reports whether a tracker's signature counts: those of the list and
// those that they told of.
func (c *Client) Trusted(id peer.ID) bool { return c.known.trusted(id) }

// Now returns the wall clock, or the trackers' time where the two differ by
// more than the clocks of two ends may.
func (c *Client) Now() time.Time { return c.cfg.Now().Add(c.clock.correction()) }

// session is a login as the client uses it. It is immutable.
type session struct {
	envelope []byte
	credential.Session
}

// SetSession makes calls carry the session and keeps a push stream open for
// it. Errors: E_SESSION for one that this client cannot use (any more).
func (c *Client) SetSession(envelope []byte, network protocol.NetworkID) error {
	s, err := c.openSession(envelope, network)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.session = s
	c.mu.Unlock()
	c.poke()
	return nil
}

func (c *Client) openSession(envelope []byte, network protocol.NetworkID) (*session, error) {
	s, err := credential.OpenSession(envelope, credential.Check{
		Network: network, Remote: c.cfg.Host.ID(), Now: c.Now(),
		// Whether it counts, trackers decide; here it is only read.
		Trusted: func(peer.ID) bool { return true },
	}, true)
	if err != nil {
		return nil, err
	}
	return &session{envelope: envelope, Session: *s}, nil
}

// Session returns what is known of the session in use; ok is false without one.
func (c *Client) Session() (s credential.Session, ok bool) {
	if now := c.currentSession(); now != nil {
		return now.Session, true
	}
	return credential.Session{}, false
}

// Uses reports whether this is the envelope of the session in use.
func (c *Client) Uses(envelope []byte) bool {
	now := c.currentSession()
	return now != nil && bytes.Equal(now.envelope, envelope)
}

// ClearSession makes the client one that is not logged in: the push stream
// ends. With tell set, trackers hear of the logout, after a restart if need be.
func (c *Client) ClearSession(tell bool) error {
	c.mu.Lock()
	s := c.session
	c.session = nil
	var pending [][]byte
	if s != nil && tell {
		c.pending, c.told = append(c.pending, s.envelope), nil
		pending = append(pending, c.pending...)
	}
	c.mu.Unlock()
	c.offers.clear()
	c.poke()
	if pending == nil {
		return nil
	}
	err := c.cfg.Store.SetPending(pending)
	nudge(c.tell)
	return err
}

func (c *Client) currentSession() *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// poke makes manager and renewer look at the session again.
func (c *Client) poke() {
	nudge(c.wake)
	nudge(c.tell)
}

// nudge wakes the reader of a channel of capacity one.
func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Signal is what a Client tells its owner.
//
//sumtype:decl
type Signal interface{ isSignal() }

// Attached tells that a tracker holds the lease of this client now; its
// events follow.
type Attached struct{ Address string }

// Detached tells that the push stream ended; another tracker is tried at once.
type Detached struct {
	Address string
	Err     error
}

// Lost tells, once until the next Attached, that no tracker could be attached to.
type Lost struct{ Err error }

// Pushed is an event of the tracker, for the user of a session.
type Pushed struct {
	Session protocol.SessionID
	Event   *pb.Event
}

// Refused tells of offers that the tracker did not take.
type Refused struct{ Offers []*pb.Offer }

// LoggedOut tells that the trackers do not accept the session any more. It is
// cleared already.
type LoggedOut struct{ Err error }

// Renewed brings the fresh envelope of a session.
type Renewed struct {
	Session  protocol.SessionID
	Envelope []byte
	Name     string
}

// Skewed tells, once, that the clock of this machine is off by so much.
type Skewed struct{ By time.Duration }

func (Attached) isSignal()  {}
func (Detached) isSignal()  {}
func (Lost) isSignal()      {}
func (Pushed) isSignal()    {}
func (Refused) isSignal()   {}
func (LoggedOut) isSignal() {}
func (Renewed) isSignal()   {}
func (Skewed) isSignal()    {}

// post queues a signal for the manager. Signals that come this way are few:
// one for each refused announcement, renewal, logout.
func (c *Client) post(s Signal) {
	c.mu.Lock()
	c.signals = append(c.signals, s)
	c.mu.Unlock()
	nudge(c.wake)
}

// deliver hands queued signals over. The manager alone calls it.
func (c *Client) deliver() {
	c.mu.Lock()
	queued := c.signals
	c.signals = nil
	c.mu.Unlock()
	for _, s := range queued {
		c.cfg.Sink(s)
	}
}
