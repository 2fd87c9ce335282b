package tracker_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/tracker"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// network is the trackers of one list, in this process and on loopback.
type network struct {
	t    testing.TB
	cfg  []tracker.Config
	run  []*tracker.Tracker // nil: not running
	mu   sync.Mutex
	logs []tracker.Activity
}

// newNetwork makes keys and a list for n trackers, and starts none.
func newNetwork(t testing.TB, n int) *network {
	t.Helper()
	w := &network{t: t, run: make([]*tracker.Tracker, n)}
	dir := t.TempDir()
	var lines []string
	for i, port := range freePorts(t, n) {
		key, _, err := host.LoadKey(filepath.Join(dir, fmt.Sprint("tracker-", i+1)), true)
		if err != nil {
			t.Fatal(err)
		}
		id, err := peer.IDFromPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		addr, err := ma.NewMultiaddr(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port))
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, roster.Format(addr, id))
	}
	entries, err := roster.Parse("TRACKER_INFO", []byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		w.cfg = append(w.cfg, tracker.Config{
			Trackers: entries, Number: i + 1, Dir: filepath.Join(dir, fmt.Sprint("tracker-", i+1)),
			NewNetwork: protocol.NetworkID{1}, MaxClients: 50, Log: w.log,
		})
	}
	t.Cleanup(func() {
		for i := range w.run {
			w.stop(i + 1)
		}
	})
	return w
}

// freePorts finds ports that nobody listens on just now, below those that the
// system gives to outgoing connections: a tracker may bind its port much later.
func freePorts(t testing.TB, n int) (ports []int) {
	t.Helper()
	for len(ports) < n {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)))
		if err != nil {
			continue // taken
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func (w *network) log(a tracker.Activity) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logs = append(w.logs, a)
}

// start starts a tracker and waits until it serves.
func (w *network) start(numbers ...int) {
	w.t.Helper()
	for _, n := range numbers {
		tr, err := tracker.New(w.cfg[n-1])
		if err != nil {
			w.t.Fatalf("start tracker %d: %v", n, err)
		}
		w.run[n-1] = tr
	}
	for _, n := range numbers {
		select {
		case <-w.run[n-1].Ready():
		case <-time.After(tt.Timeout):
			w.t.Fatalf("tracker %d does not get ready", n)
		}
	}
}

func (w *network) stop(n int) {
	w.t.Helper()
	if w.run[n-1] == nil {
		return
	}
	start := time.Now()
	if err := w.run[n-1].Close(); err != nil {
		w.t.Errorf("close tracker %d: %v", n, err)
	}
	if took := time.Since(start); took > 5*time.Second {
		w.t.Errorf("close tracker %d took %v", n, took)
	}
	w.run[n-1] = nil
}

// together waits until all that run are connected to each other.
func (w *network) together() {
	w.t.Helper()
	w.until("trackers are connected", func() bool {
		return !slices.ContainsFunc(w.run, func(t *tracker.Tracker) bool { return t == nil || t.Status().Connected != len(w.run) })
	})
}

// until polls a condition that nothing announces.
func (w *network) until(what string, f func() bool) {
	w.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(tt.Timeout)
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("not so after %v: %s", tt.Timeout, what)
		}
	}
}

// at is the address of a tracker.
func (w *network) at(n int) peer.AddrInfo {
	e := w.cfg[0].Trackers[n-1]
	return peer.AddrInfo{ID: e.ID, Addrs: e.Addrs()}
}

func (w *network) client(n int) *tt.Client { return tt.New(w.t).Use(w.at(n)) }

func wantCode(t *testing.T, what string, err error, want protocol.Code) {
	t.Helper()
	if got := protocol.CodeOf(err); got != want {
		t.Errorf("%s: %v (%s), want %q", what, err, got, want)
	}
}

// The main job at two trackers, each client at another one.
func TestTwoTrackers(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 2)
	w.start(1, 2)
	w.together()

	ada, bob := w.client(1).Enter("ada"), w.client(2).Enter("bob")
	if r, err := tt.Do(ada, ada.At().CreateGroup, &pb.CreateGroupRequest{Name: "g", Nonce: tt.Nonce()}); err != nil ||
		r.GetStored().GetStoredOn() != 2 || r.GetStored().GetTrackers() != 2 {
		t.Fatalf("CreateGroup = %v, %v, want stored on 2 of 2", r, err)
	}
	a, b := ada.Attach("/ip4/127.0.0.1/tcp/4001"), bob.Attach("/ip4/127.0.0.1/tcp/4002")
	a.Expect("of the two trackers", func(e *pb.Event) bool {
		l := e.GetRoster().GetTrackers()
		return len(l) == 2 && l[0].GetConnected() && l[1].GetConnected()
	})
	wantCode(t, "a name that the other tracker has given away", w.client(2).Register("ada"), protocol.CodeExists)
	w.until("bob's tracker knows the group", func() bool { return bob.Join("g") == nil })
	a.Expect("that bob asks, at the other tracker", func(e *pb.Event) bool { return e.GetJoinRequested().GetUser() == "bob" })
	if err := ada.Answer("g", "bob", true); err != nil {
		t.Fatal(err)
	}
	b.Expect("that bob is in", tt.Member("g", "bob", pb.MemberChange_KIND_ACCEPTED))

	m := tt.Manifest("film.mkv", 2000, 1)
	if _, err := ada.Share("g", m); err != nil {
		t.Fatal(err)
	}
	b.Expect("of the file", func(e *pb.Event) bool { return e.GetFileAdded().GetName() == "film.mkv" })
	found, err := tt.Do(bob, bob.At().FindFile, &pb.FindFileRequest{Group: tt.Group("g"), Name: "film.mkv"})
	if err != nil {
		t.Fatal(err)
	}
	ref := &pb.FileRequest{GroupId: found.GetGroupId(), FileId: found.GetFile().GetId()}
	got, err := bob.Manifest(ref)
	if err != nil || !bytes.Equal(got, m.Encode()) {
		t.Errorf("manifest from the other tracker: %d bytes, %v", len(got), err)
	}

	offer := &pb.Offer{GroupId: ref.GetGroupId(), FileId: ref.GetFileId(), Complete: true}
	announce := &pb.AnnounceRequest{Offer: []*pb.Offer{offer}}
	if r, err := tt.Do(ada, ada.At().Announce, announce); err != nil || len(r.GetRefused()) != 0 {
		t.Fatalf("Announce = %v, %v", r, err)
	}
	w.until("bob finds ada as a seeder", func() bool {
		r, err := tt.Do(bob, bob.At().ListSeeders, ref)
		return err == nil && len(r.GetSeeders()) == 1 && r.GetSeeders()[0].GetPeerId() == ada.ID()
	})
	ticket, err := tt.Do(bob, bob.At().IssueTicket, &pb.IssueTicketRequest{GroupId: ref.GetGroupId()})
	if err != nil {
		t.Fatal(err)
	}
	hello, err := tt.Do(ada, ada.At().Hello, &pb.HelloRequest{})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := credential.OpenTicket(ticket.GetTicket(), credential.Check{
		Network: protocol.NetworkID(hello.GetNetworkId()), Remote: bob.Host.ID(), Now: time.Now(),
		Trusted: func(id peer.ID) bool { return id == w.at(2).ID },
	})
	if err != nil || !bytes.Equal(opened.User[:], bob.User) {
		t.Errorf("bob's ticket: %+v, %v", opened, err)
	}

	// Removed at one tracker, refused at the other.
	if err := ada.Remove("g", "bob"); err != nil {
		t.Fatal(err)
	}
	b.Expect("that bob is out", tt.Member("g", "bob", pb.MemberChange_KIND_REMOVED))
	_, err = tt.Do(bob, bob.At().IssueTicket, &pb.IssueTicketRequest{GroupId: ref.GetGroupId()})
	wantCode(t, "a ticket for bob", err, protocol.CodeNotMember)
	_, err = tt.Do(bob, bob.At().ListSeeders, ref)
	wantCode(t, "seeders for bob", err, protocol.CodeNotMember)

	s := w.run[1].Status()
	if !s.Serving || s.Users != 2 || s.Groups != 1 || s.Files != 1 || s.Online != 2 || s.Connected != 2 || s.Trackers != 2 {
		t.Errorf("Status = %+v", s)
	}
}

// A session goes on at the other tracker; a logout there counts here.
func TestFailOver(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 2)
	w.start(1, 2)
	w.together()
	ada := w.client(1).Enter("ada")
	nonce := tt.Nonce()
	first, err := tt.Do(ada, ada.At().CreateGroup, &pb.CreateGroupRequest{Name: "g", Nonce: nonce})
	if err != nil {
		t.Fatal(err)
	}
	w.stop(1)

	ada.Use(w.at(2))
	again, err := tt.Do(ada, ada.At().CreateGroup, &pb.CreateGroupRequest{Name: "g", Nonce: nonce})
	if err != nil || !again.GetAlready() || !bytes.Equal(again.GetGroupId(), first.GetGroupId()) {
		t.Errorf("the same request at the other tracker = %v, %v, want already", again, err)
	}
	w.until("the tracker notices that it is alone", func() bool { return w.run[1].Status().Connected == 1 })
	r, err := tt.Do(ada, ada.At().CreateGroup, &pb.CreateGroupRequest{Name: "made alone", Nonce: tt.Nonce()})
	if err != nil || r.GetStored().GetStoredOn() != 1 || r.GetStored().GetTrackers() != 2 {
		t.Errorf("CreateGroup at one alone = %v, %v, want stored on 1 of 2", r, err)
	}
	if _, err := tt.Do(ada, ada.At().Logout, &pb.LogoutRequest{}); err != nil {
		t.Fatal(err)
	}

	w.start(1)
	ada.Use(w.at(1))
	_, err = tt.Do(ada, ada.At().ListGroups, &pb.ListGroupsRequest{})
	wantCode(t, "the session that ended meanwhile, at a tracker that serves again", err, protocol.CodeSession)
	if err := ada.Login("ada", tt.Password); err != nil {
		t.Fatal(err)
	}
	list, err := tt.Do(ada, ada.At().ListGroups, &pb.ListGroupsRequest{})
	if err != nil || len(list.GetGroups()) != 2 {
		t.Errorf("groups at the tracker that was away = %v, %v, want both", list, err)
	}
}

func TestPasswordsAcrossTrackers(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 2)
	w.start(1, 2)
	w.together()
	ada := w.client(1).Enter("ada")
	password, err := w.run[1].ResetPassword(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	w.until("the session ends at the first tracker", func() bool {
		_, err := tt.Do(ada, ada.At().ListGroups, &pb.ListGroupsRequest{})
		return protocol.CodeOf(err) == protocol.CodeSession
	})
	wantCode(t, "the old password", ada.Login("ada", tt.Password), protocol.CodeAuth)
	wantCode(t, "the new password", ada.Login("ada", password), "")
	if err := w.run[0].SetDisabled(t.Context(), "ada", true); err != nil {
		t.Fatal(err)
	}
	w.until("the account is disabled at the second tracker", func() bool {
		return protocol.CodeOf(w.client(2).Login("ada", password)) == protocol.CodeForbidden
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.logs {
		if text := fmt.Sprintf("%+v", a); strings.Contains(text, password) || strings.Contains(text, tt.Password) {
			t.Errorf("a password is in the log: %s", text)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 2)
	w.start(1)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	tests := []struct {
		name   string
		change func(*tracker.Config)
		want   protocol.Code
	}{
		{"number too high", func(c *tracker.Config) { c.Number = 3 }, protocol.CodeConfig},
		{"number zero", func(c *tracker.Config) { c.Number = 0 }, protocol.CodeConfig},
		{"key of another", func(c *tracker.Config) { c.Number = 1 }, protocol.CodeConfig},
		{"no key", func(c *tracker.Config) { c.Dir = t.TempDir() }, protocol.CodeConfig},
		{"a tracker without an id", func(c *tracker.Config) {
			c.Trackers = slices.Clone(c.Trackers)
			c.Trackers[0].ID = ""
		}, protocol.CodeConfig},
		{"unknown limit", func(c *tracker.Config) { c.Limits = map[string]string{"x": "off"} }, protocol.CodeConfig},
		{"malformed limit", func(c *tracker.Config) { c.Limits = map[string]string{"ops": "x"} }, protocol.CodeConfig},
		{"malformed listen", func(c *tracker.Config) { c.Listen = "nowhere" }, protocol.CodeConfig},
		{"host of another", func(c *tracker.Config) { c.Host = tt.New(t).Host }, protocol.CodeConfig},
		{"folder in use", func(c *tracker.Config) { *c = w.cfg[0] }, protocol.CodeLocked},
		{"port in use", func(c *tracker.Config) { c.Listen = busy.Addr().String() }, protocol.CodeAddrInUse},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			cfg := w.cfg[1]
			tc.change(&cfg)
			tr, err := tracker.New(cfg)
			if err == nil {
				_ = tr.Close()
			}
			wantCode(t, "New", err, tc.want)
		})
	}
	// What was refused has left nothing behind that is in the way.
	w.start(2)
}

// A tracker that is not marked new and knows no network answers Hello alone.
func TestBlankTrackerWaits(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, 2)
	w.cfg[1].NewNetwork = protocol.NetworkID{}
	tr, err := tracker.New(w.cfg[1])
	if err != nil {
		t.Fatal(err)
	}
	w.run[1] = tr
	ada := w.client(2)
	r, err := tt.Do(ada, ada.At().Hello, &pb.HelloRequest{})
	if err != nil || r.GetServing() || r.GetReason() == "" || len(r.GetNetworkId()) != 0 {
		t.Errorf("Hello of a blank tracker = %v, %v", r, err)
	}
	wantCode(t, "Register at a blank tracker", ada.Register("ada"), protocol.CodeBusy)
	if s := tr.Status(); s.Serving || s.Reason == "" {
		t.Errorf("Status = %+v", s)
	}
	w.start(1)
	select {
	case <-tr.Ready():
	case <-time.After(tt.Timeout):
		t.Fatal("the blank tracker does not catch up")
	}
	ada.Enter("ada")
}

func TestLimitsAreListed(t *testing.T) {
	names := make(map[string]bool)
	for _, l := range tracker.Limits() {
		if l.Name == "" || l.Default == "" || l.Help == "" || names[l.Name] {
			t.Errorf("limit %+v", l)
		}
		names[l.Name] = true
	}
	for _, want := range []string{"registrations", "logins", "ops"} {
		if !names[want] {
			t.Errorf("no limit %s", want)
		}
	}
}
