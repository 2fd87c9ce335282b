package gate_test

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node/internal/gate"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
)

// world is one tracker, one leecher's identity, and a gate that knows the group.
type world struct {
	t       *testing.T
	key     crypto.PrivKey
	tracker peer.ID
	leecher peer.ID
	network protocol.NetworkID
	group   protocol.GroupID
	ann     protocol.UserID
	bob     protocol.UserID
	session protocol.SessionID
	now     time.Time
	gate    *gate.Gate
}

func newKey(t *testing.T) (crypto.PrivKey, peer.ID) {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, id
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, network: protocol.NewNetworkID(), session: protocol.NewSessionID(),
		group: protocol.GroupID{1}, ann: protocol.UserID{1}, bob: protocol.UserID{2},
		now: time.Unix(1_800_000_000, 0),
	}
	w.key, w.tracker = newKey(t)
	_, w.leecher = newKey(t)
	w.gate = gate.New(func(id peer.ID) bool { return id == w.tracker }, protocol.TicketGrace)
	w.gate.Open(w.network)
	w.gate.SetMembers(w.group, w.stamp(0), []protocol.UserID{w.ann, w.bob})
	w.gate.Synced([]protocol.GroupID{w.group}, nil, w.now)
	return w
}

// stamp is a reading after seconds from the beginning.
func (w *world) stamp(seconds int64) protocol.Stamp {
	return protocol.Stamp{Wall: 1_800_000_000_000 + seconds*1000, Origin: w.tracker.String()}
}

// ticket is bob's, issued after seconds from the beginning, with changes.
func (w *world) ticket(seconds int64, change ...func(*credential.Ticket)) []byte {
	w.t.Helper()
	issued := time.Unix(1_800_000_000+seconds, 0)
	t := &credential.Ticket{
		Network: w.network, Group: w.group, User: w.bob, Session: w.session, Peer: w.leecher,
		Stamp: w.stamp(seconds), Issued: issued, Expires: issued.Add(protocol.TicketLife),
	}
	for _, f := range change {
		f(t)
	}
	b, err := t.Seal(w.key)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// admit asks with a context that is over: nothing is waited for.
func (w *world) admit(envelope []byte) (gate.Grant, error) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return w.gate.Admit(ctx, w.leecher, envelope, w.now)
}

func (w *world) want(err, want error) {
	w.t.Helper()
	if want == nil && err != nil || !errors.Is(err, want) {
		w.t.Errorf("got %v, want %v", err, want)
	}
}

func TestAdmitsMemberOnly(t *testing.T) {
	strangeKey, _ := newKey(t)
	tests := []struct {
		name   string
		before func(w *world)
		ticket func(w *world) []byte
		want   error
	}{
		{name: "member", want: nil},
		{name: "no ticket", ticket: func(*world) []byte { return nil }, want: protocol.ErrNotMember},
		{name: "garbage", ticket: func(*world) []byte { return []byte("ticket") }, want: protocol.ErrNotMember},
		{name: "another network", ticket: func(w *world) []byte {
			return w.ticket(1, func(t *credential.Ticket) { t.Network = protocol.NewNetworkID() })
		}, want: protocol.ErrNotMember},
		{name: "stolen from another peer", ticket: func(w *world) []byte {
			return w.ticket(1, func(t *credential.Ticket) { t.Peer = w.tracker })
		}, want: protocol.ErrNotMember},
		{name: "another group", ticket: func(w *world) []byte {
			return w.ticket(1, func(t *credential.Ticket) { t.Group = protocol.GroupID{9} })
		}, want: protocol.ErrNotMember},
		{name: "not a member", ticket: func(w *world) []byte {
			return w.ticket(-1, func(t *credential.Ticket) { t.User = protocol.UserID{9} })
		}, want: protocol.ErrNotMember},
		{name: "too long a life", ticket: func(w *world) []byte {
			return w.ticket(1, func(t *credential.Ticket) { t.Expires = t.Issued.Add(25 * time.Hour) })
		}, want: protocol.ErrNotMember},
		{name: "signed by a stranger", ticket: func(w *world) []byte {
			w.key = strangeKey
			return w.ticket(1)
		}, want: protocol.ErrNotMember},
		{name: "removed", before: func(w *world) { w.gate.Left(w.group, w.bob, w.stamp(5)) }, want: protocol.ErrNotMember},
		{name: "removed, ticket of a tracker that does not know", before: func(w *world) {
			w.gate.Left(w.group, w.bob, w.stamp(5))
		}, ticket: func(w *world) []byte { return w.ticket(9) }, want: protocol.ErrNotMember},
		{name: "removed and accepted again", before: func(w *world) {
			w.gate.Left(w.group, w.bob, w.stamp(5))
			w.gate.Joined(w.group, w.bob, w.stamp(6))
		}, want: nil},
		{name: "session revoked", before: func(w *world) { w.gate.Revoke(w.session, w.now) }, want: protocol.ErrNotMember},
		{name: "seeder left the group", before: func(w *world) { w.gate.Forget(w.group) }, want: protocol.ErrNotMember},
		{name: "seeder logged out", before: func(w *world) { w.gate.Shut() }, want: protocol.ErrNotMember},
		{name: "group not among those of a new connection", before: func(w *world) {
			w.gate.Synced(nil, nil, w.now)
		}, want: protocol.ErrNotMember},
		{name: "expired", before: func(w *world) { w.now = w.now.Add(18 * time.Minute) }, want: protocol.ErrSession},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			if test.before != nil {
				test.before(w)
			}
			envelope := w.ticket(1)
			if test.ticket != nil {
				envelope = test.ticket(w)
			}
			_, err := w.admit(envelope)
			w.want(err, test.want)
		})
	}
}

func TestOpenStreamsEndWithTheirReason(t *testing.T) {
	w := newWorld(t)
	grant, err := w.admit(w.ticket(1))
	w.want(err, nil)
	if !w.gate.Allows(grant, w.now) {
		t.Fatal("a fresh grant is not allowed")
	}
	w.gate.Left(w.group, w.ann, w.stamp(2))
	if !w.gate.Allows(grant, w.now) {
		t.Error("ended by the removal of somebody else")
	}
	if w.gate.Allows(grant, grant.Expires.Add(time.Second)) {
		t.Error("allowed after its end")
	}
	w.gate.Left(w.group, w.bob, w.stamp(3))
	if w.gate.Allows(grant, w.now) {
		t.Error("allowed after the removal")
	}
}

func TestGraceWithoutTrackers(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(1)
	w.now = w.now.Add(10 * time.Minute)
	w.gate.Lost(w.now)
	w.now = w.now.Add(time.Hour)
	w.gate.Lost(w.now) // a second failed try does not prolong it
	grant, err := w.admit(ticket)
	w.want(err, nil)

	expired := w.ticket(-1800)
	_, err = w.admit(expired)
	w.want(err, protocol.ErrSession)

	newcomer := func(t *credential.Ticket) { t.User = protocol.UserID{7} }
	_, err = w.admit(w.ticket(3600, newcomer))
	w.want(err, nil)

	if w.gate.Allows(grant, w.now.Add(3*time.Hour+time.Minute)) {
		t.Error("grace lasts longer than four hours")
	}
	w.gate.Synced([]protocol.GroupID{w.group}, nil, w.now)
	if w.gate.Allows(grant, w.now) {
		t.Error("an expired ticket outlives the return of a tracker")
	}
	w.gate.Lost(w.now)
	_, err = w.admit(ticket)
	w.want(err, protocol.ErrSession)
}

// Without grace a ticket ends at its own time, trackers or not, and a ticket of
// somebody of whom the trackers have not told is no ticket.
func TestStrictWithoutTrackers(t *testing.T) {
	w := newWorld(t)
	w.gate = gate.New(func(id peer.ID) bool { return id == w.tracker }, 0)
	w.gate.Open(w.network)
	w.gate.SetMembers(w.group, w.stamp(0), []protocol.UserID{w.ann, w.bob})
	w.gate.Synced([]protocol.GroupID{w.group}, nil, w.now)
	ticket := w.ticket(1)
	w.now = w.now.Add(10 * time.Minute)
	w.gate.Lost(w.now)
	grant, err := w.admit(ticket)
	w.want(err, nil)
	if want := time.Unix(1_800_000_001, 0).Add(protocol.TicketLife + protocol.CredentialSkew); !grant.Expires.Equal(want) {
		t.Errorf("the stream ends at %v, want %v", grant.Expires, want)
	}
	_, err = w.admit(w.ticket(540, func(t *credential.Ticket) { t.User = protocol.UserID{7} }))
	w.want(err, protocol.ErrNotMember)
	if !w.gate.Allows(grant, grant.TicketEnd) || w.gate.Allows(grant, grant.TicketEnd.Add(time.Second)) {
		t.Error("the open stream does not end with its ticket")
	}
	w.now = grant.TicketEnd.Add(time.Second)
	_, err = w.admit(ticket)
	w.want(err, protocol.ErrSession)
}

// However long a grace is asked for, four hours are the most.
func TestGraceIsBounded(t *testing.T) {
	w := newWorld(t)
	w.gate = gate.New(func(id peer.ID) bool { return id == w.tracker }, 100*time.Hour)
	w.gate.Open(w.network)
	w.gate.SetMembers(w.group, w.stamp(0), []protocol.UserID{w.bob})
	w.gate.Synced([]protocol.GroupID{w.group}, nil, w.now)
	w.gate.Lost(w.now)
	grant, err := w.admit(w.ticket(1))
	w.want(err, nil)
	if want := w.now.Add(protocol.TicketGrace); !grant.Expires.Equal(want) {
		t.Errorf("the stream ends at %v, want %v", grant.Expires, want)
	}
}

func TestWaitsForWordOfANewMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		carol := protocol.UserID{3}
		envelope := w.ticket(1, func(t *credential.Ticket) { t.User = carol })
		go func() {
			time.Sleep(time.Second)
			w.gate.Joined(w.group, carol, w.stamp(1))
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := w.gate.Admit(ctx, w.leecher, envelope, w.now)
		w.want(err, nil)

		dave := w.ticket(9, func(t *credential.Ticket) { t.User = protocol.UserID{4} })
		_, err = w.gate.Admit(ctx, w.leecher, dave, w.now)
		w.want(err, protocol.ErrNotMember)
	})
}

// A tracker can make the gate remember so much and no more, and what it tells
// beyond opens it to nobody.
func TestWhatATrackerTellsIsBounded(t *testing.T) {
	w := newWorld(t)
	id := func(kind byte, i int) [16]byte { return [16]byte{kind, byte(i), byte(i >> 8), byte(i >> 16)} }
	for i := range 2 * protocol.MaxGroupsJoined {
		w.gate.SetMembers(id('g', i), w.stamp(0), []protocol.UserID{w.ann, w.bob})
	}
	var crowd []protocol.UserID
	for i := range 3 * protocol.MaxMembersPerGroup {
		crowd = append(crowd, id('u', i))
	}
	w.gate.SetMembers(w.group, w.stamp(0), append(crowd, w.bob))
	for _, u := range crowd {
		w.gate.Joined(w.group, u, w.stamp(0))
	}
	groups, members, _ := w.gate.Sizes(w.group)
	if groups != 2*protocol.MaxGroupsJoined || members != 2*protocol.MaxMembersPerGroup {
		t.Errorf("%d groups, %d members of one", groups, members)
	}
	_, err := w.admit(w.ticket(-1))
	w.want(err, protocol.ErrNotMember)
	_, err = w.admit(w.ticket(1, func(t *credential.Ticket) { t.Group = id('g', 2*protocol.MaxGroupsJoined-1) }))
	w.want(err, protocol.ErrNotMember)

	// Whoever is known to be gone makes room.
	w.gate.Left(w.group, crowd[0], w.stamp(0))
	w.gate.Joined(w.group, w.bob, w.stamp(0))
	_, err = w.admit(w.ticket(1))
	w.want(err, nil)

	for i := range 50_000 {
		w.gate.Revoke(id('s', i), w.now)
	}
	w.gate.Synced([]protocol.GroupID{w.group}, []protocol.SessionID{w.session}, w.now)
	for i := range 9_000 {
		w.gate.Revoke(id('t', i), w.now)
	}
	if _, _, revoked := w.gate.Sizes(w.group); revoked > 20_000 {
		t.Errorf("%d revocations are remembered", revoked)
	}
	_, err = w.admit(w.ticket(1))
	w.want(err, protocol.ErrNotMember)
}

// A revocation is not forgotten while a ticket could be accepted, however long
// after others it came.
func TestRevocationsLast(t *testing.T) {
	w := newWorld(t)
	w.gate.Revoke(protocol.SessionID{1}, w.now)
	w.gate.Revoke(w.session, w.now.Add(5*time.Hour))
	w.gate.Revoke(protocol.SessionID{2}, w.now.Add(9*time.Hour))
	w.now = w.now.Add(10 * time.Hour)
	_, err := w.admit(w.ticket(10*60*60 - 60))
	w.want(err, protocol.ErrNotMember)
}
