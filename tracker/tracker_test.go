package tracker_test

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// The main job at two trackers, each client at another one.
func TestTwoTrackers(t *testing.T) {
	t.Parallel()
	w := connected(t, 2)

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
	w := connected(t, 2)
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
	_, err = ada.Groups()
	wantCode(t, "the session that ended meanwhile, at a tracker that serves again", err, protocol.CodeSession)
	if err := ada.Login("ada", tt.Password); err != nil {
		t.Fatal(err)
	}
	groups, err := ada.Groups()
	if err != nil || len(groups) != 2 {
		t.Errorf("groups at the tracker that was away = %v, %v, want both", groups, err)
	}
}

func TestPasswordsAcrossTrackers(t *testing.T) {
	t.Parallel()
	w := connected(t, 2)
	ada := w.client(1).Enter("ada")
	password, err := w.run[1].ResetPassword(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	w.until("the session ends at the first tracker", func() bool {
		_, err := ada.Groups()
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
		{"too many clients", func(c *tracker.Config) { c.MaxClients = 50_001 }, protocol.CodeConfig},
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
