package trackers_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/gostream"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

var network = protocol.NetworkID{7}

const patience = 10 * time.Second

func newKey(t *testing.T) crypto.PrivKey {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newHost(t *testing.T, key crypto.PrivKey, addr string) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.Identity(key), libp2p.ListenAddrStrings(addr), libp2p.DisableRelay())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// fake is a tracker that answers as the test says.
type fake struct {
	pb.UnimplementedTrackerServiceHandler
	t    *testing.T
	key  crypto.PrivKey
	host host.Host
	addr ma.Multiaddr
	stop func()

	mu       sync.Mutex
	calls    []string // names of the calls that came
	nonces   []string
	sessions []string // header of each call
	stamps   []string
	fail     error // of CreateGroup
	notReady bool
	silent   bool        // no keep-alives
	ends     error       // of every push stream, at once
	opened   []time.Time // push streams
	roster   []*pb.TrackerInfo
	skew     time.Duration
	offers   map[string]bool // file: complete
	refuse   bool            // all offers
	revoked  bool            // E_SESSION to everything
	attached chan *fake
	push     chan *pb.Event
	logouts  int
}

func newFake(t *testing.T, attached chan *fake) *fake {
	f := &fake{t: t, key: newKey(t), offers: map[string]bool{}, attached: attached, push: make(chan *pb.Event, 16)}
	f.start("/ip4/127.0.0.1/tcp/0")
	return f
}

func (f *fake) start(addr string) {
	f.host = newHost(f.t, f.key, addr)
	f.addr = f.host.Addrs()[0]
	l, err := gostream.Listen(f.host, protocol.TrackerProtocol)
	if err != nil {
		f.t.Fatal(err)
	}
	_, handler := pb.NewTrackerServiceHandler(f, connect.WithInterceptors(f))
	srv := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	f.stop = sync.OnceFunc(func() { _ = srv.Close(); _ = f.host.Close(); <-done })
	f.t.Cleanup(func() { f.stop() })
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) entry(n int) roster.Entry {
	return roster.Entry{Number: n, Line: n, Text: f.addr.String() + "/p2p/" + f.host.ID().String(), Addr: f.addr, ID: f.host.ID()}
}

func (f *fake) bare(n int) roster.Entry {
	e := f.entry(n)
	port, _ := f.addr.ValueForProtocol(ma.P_TCP)
	e.Text, e.ID = "127.0.0.1:"+port, ""
	return e
}

func (f *fake) seen(procedure string, h http.Header) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, procedure)
	f.sessions = append(f.sessions, h.Get(protocol.HeaderSession))
	f.stamps = append(f.stamps, h.Get(protocol.HeaderStamp))
	if f.revoked && procedure != pb.TrackerServiceHelloProcedure && procedure != pb.TrackerServiceRenewProcedure {
		return failed(protocol.ErrSession)
	}
	return nil
}

func (f *fake) reply(h http.Header) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now().Add(f.skew)
	h.Set(protocol.HeaderTime, strconv.FormatInt(now.UnixMilli(), 10))
	h.Set(protocol.HeaderStamp, protocol.Stamp{Wall: now.UnixMilli(), Origin: f.host.ID().String()}.String())
}

func (f *fake) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		err := f.seen(req.Spec().Procedure, req.Header())
		if err != nil {
			return nil, err
		}
		res, err := next(ctx, req)
		if err == nil {
			f.reply(res.Header())
		}
		return res, err
	}
}

func (f *fake) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (f *fake) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if err := f.seen(conn.Spec().Procedure, conn.RequestHeader()); err != nil {
			return err
		}
		f.reply(conn.ResponseHeader())
		return next(ctx, conn)
	}
}

func failed(err error) error {
	ce := connect.NewError(connect.CodeFailedPrecondition, errors.New("failed"))
	d, _ := connect.NewErrorDetail(wire.ToFailure(err, "ref"))
	ce.AddDetail(d)
	return ce
}

func (f *fake) Hello(context.Context, *connect.Request[pb.HelloRequest]) (*connect.Response[pb.HelloResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return connect.NewResponse(&pb.HelloResponse{
		NetworkId: network[:], Version: protocol.Version, Trackers: f.roster, Serving: !f.notReady, Reason: "catching up",
	}), nil
}

func (f *fake) CreateGroup(_ context.Context, r *connect.Request[pb.CreateGroupRequest]) (*connect.Response[pb.GroupResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nonces = append(f.nonces, string(r.Msg.GetNonce()))
	if f.fail != nil {
		return nil, f.fail
	}
	return connect.NewResponse(&pb.GroupResponse{Group: r.Msg.GetName(), User: f.host.ID().String()}), nil
}

func (f *fake) Logout(context.Context, *connect.Request[pb.LogoutRequest]) (*connect.Response[pb.ChangeResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logouts++
	return connect.NewResponse(&pb.ChangeResponse{}), nil
}

func (f *fake) Renew(_ context.Context, r *connect.Request[pb.RenewRequest]) (*connect.Response[pb.LoginResponse], error) {
	id, err := peer.Decode(r.Peer().Addr)
	if err != nil {
		return nil, err
	}
	f.set(func() { f.revoked = false })
	return connect.NewResponse(&pb.LoginResponse{Session: sealed(f.t, f.key, id, time.Now()), Name: "ann"}), nil
}

func (f *fake) Announce(_ context.Context, r *connect.Request[pb.AnnounceRequest]) (*connect.Response[pb.AnnounceResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse {
		return connect.NewResponse(&pb.AnnounceResponse{Refused: r.Msg.GetOffer()}), nil
	}
	for _, o := range r.Msg.GetOffer() {
		f.offers[string(o.GetFileId())] = o.GetComplete()
	}
	for _, o := range r.Msg.GetWithdraw() {
		delete(f.offers, string(o.GetFileId()))
	}
	return connect.NewResponse(&pb.AnnounceResponse{}), nil
}

func (f *fake) Attach(ctx context.Context, _ *connect.Request[pb.AttachRequest], out *connect.ServerStream[pb.Event]) error {
	alive := &pb.Event{Body: &pb.Event_KeepAlive{KeepAlive: &pb.KeepAlive{}}}
	if err := out.Send(alive); err != nil {
		return err
	}
	if f.attached != nil {
		f.attached <- f
	}
	f.mu.Lock()
	f.opened = append(f.opened, time.Now())
	ends := f.ends
	f.mu.Unlock()
	if ends != nil {
		return failed(ends)
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		e := alive
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e = <-f.push:
		case <-tick.C:
		}
		f.mu.Lock()
		silent := f.silent
		f.mu.Unlock()
		if silent {
			continue
		}
		if err := out.Send(e); err != nil {
			return err
		}
	}
}

// sealed is a session of the client that began at a time.
func sealed(t *testing.T, key crypto.PrivKey, client peer.ID, issued time.Time) []byte {
	s := &credential.Session{
		Network: network, User: protocol.UserID{1}, ID: protocol.SessionID{2}, Peer: client,
		Issued: issued, Expires: issued.Add(protocol.SessionLife), RenewUntil: issued.Add(protocol.SessionRenew),
	}
	b, err := s.Seal(key)
	if err != nil {
		t.Error(err)
	}
	return b
}

// memory is a Store.
type memory struct {
	mu      sync.Mutex
	learned map[string][]string
	pending [][]byte
}

func (m *memory) Learned() (map[string][]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.learned, nil
}

func (m *memory) SetLearned(l map[string][]string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.learned = l
	return nil
}

func (m *memory) Pending() ([][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pending, nil
}

func (m *memory) SetPending(p [][]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pending = p
	return nil
}

// user is a client under test.
type user struct {
	*trackers.Client
	host    host.Host
	store   *memory
	signals chan trackers.Signal
}

func newUser(t *testing.T, change func(*trackers.Config), entries ...roster.Entry) *user {
	t.Helper()
	u := &user{host: newHost(t, newKey(t), "/ip4/127.0.0.1/tcp/0"), store: &memory{}, signals: make(chan trackers.Signal, 100)}
	cfg := trackers.Config{
		Host: u.host, Entries: entries, ListName: "list.txt", PinFile: filepath.Join(t.TempDir(), "known_trackers"),
		Store: u.store, Sink: func(s trackers.Signal) { u.signals <- s },
	}
	if change != nil {
		change(&cfg)
	}
	c, err := trackers.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	u.Client = c
	t.Cleanup(func() { _ = c.Close() })
	return u
}

func (u *user) createGroup(t *testing.T) (*pb.GroupResponse, error) {
	t.Helper()
	nonce := protocol.NewNonce()
	return trackers.Call(t.Context(), u.Client, pb.TrackerServiceClient.CreateGroup, &pb.CreateGroupRequest{Name: "g", Nonce: nonce[:]})
}

// await returns the next signal of a kind.
func await[S trackers.Signal](t *testing.T, u *user) S {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case s := <-u.signals:
			if want, ok := s.(S); ok {
				return want
			}
		case <-deadline:
			var want S
			t.Fatalf("no %T came", want)
		}
	}
}

func awaitFake(t *testing.T, ch chan *fake) *fake {
	t.Helper()
	select {
	case f := <-ch:
		return f
	case <-time.After(patience):
		t.Fatal("nobody attached")
		return nil
	}
}

// eventually waits for a condition that comes true without a signal.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func wantCode(t *testing.T, err error, want protocol.Code) {
	t.Helper()
	if got := protocol.CodeOf(err); got != want {
		t.Fatalf("got %q (%v), want %q", got, err, want)
	}
}
