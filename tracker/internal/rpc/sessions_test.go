package rpc_test

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// sessions is the caller's list; a failure ends the test.
func sessions(c *tt.Client) []*pb.SessionEntry {
	c.T.Helper()
	r, err := tt.Do(c, c.At().ListSessions, &pb.ListSessionsRequest{})
	if err != nil {
		c.T.Fatalf("list sessions: %v", err)
	}
	return r.GetSessions()
}

func revoke(c *tt.Client, id []byte) (*pb.ChangeResponse, error) {
	return tt.Do(c, c.At().RevokeSession, &pb.RevokeSessionRequest{SessionId: id})
}

// Each user sees the own logins only, whichever tracker they were made at.
func TestSessionsAreListed(t *testing.T) {
	ws := newWorlds(t, 2, options{interval: 20 * time.Millisecond})
	ada := ws[0].user("ada")
	bob := ws[0].user("bob")
	phone := ws[1].client()
	if err := phone.Login("ada", tt.Password); err != nil {
		t.Fatal(err)
	}
	phone.Attach().Expect("of the present state", func(e *pb.Event) bool { return e.GetSynced() != nil })
	before := time.Now().Add(-time.Minute).UnixMilli()
	for _, c := range []*tt.Client{ada, phone} {
		list := sessions(c)
		if len(list) != 2 {
			t.Fatalf("%d sessions are listed, want 2", len(list))
		}
		for i, s := range list {
			if s.GetThis() != (i == 0 == (c == ada)) || s.GetDevice() != "test" || s.GetSinceMs() < before ||
				s.GetLastSeenMs() < s.GetSinceMs() || s.GetLastSeenMs() > time.Now().UnixMilli() || len(s.GetSessionId()) != 16 {
				t.Errorf("session %d is listed as %v", i, s)
			}
		}
		if list[0].GetOnline() {
			t.Errorf("a client without a stream is told to be online")
		}
	}
	if s := sessions(phone); !s[1].GetOnline() {
		t.Errorf("the client that is attached is not told to be online: %v", s)
	}
	if list := sessions(bob); len(list) != 1 || !list[0].GetThis() {
		t.Errorf("bob sees %v", list)
	}
	_, err := tt.Do(ws[0].client(), ws[0].client().At().ListSessions, &pb.ListSessionsRequest{})
	wantCode(t, "without a session", err, protocol.CodeSession)
}

// A session that was revoked ends as by a logout: at every tracker, with its
// stream, and seeders are told so that they refuse its tickets.
func TestRevokedSessionEndsEverywhere(t *testing.T) {
	ws := newWorlds(t, 2, options{interval: 20 * time.Millisecond})
	ada, seeder := ws[0].user("ada"), ws[0].user("seeder")
	gid := seeder.CreateGroup("g")
	seeder.LetIn("g", ada, "ada")
	phone := ws[1].client()
	if err := phone.Login("ada", tt.Password); err != nil {
		t.Fatal(err)
	}
	if _, err := tt.Do(phone, phone.At().IssueTicket, &pb.IssueTicketRequest{GroupId: gid}); err != nil {
		t.Fatalf("a ticket before: %v", err)
	}
	attached := phone.Attach()
	attached.Expect("of the present state", func(e *pb.Event) bool { return e.GetSynced() != nil })
	told := seeder.Attach()
	told.Expect("of the present state", func(e *pb.Event) bool { return e.GetSynced() != nil })
	id := sessions(phone)[1].GetSessionId()

	_, err := revoke(seeder, id)
	wantCode(t, "by another user", err, protocol.CodeNotFound)
	_, err = revoke(ada, []byte{1})
	wantCode(t, "an id of wrong length", err, protocol.CodeUsage)
	random := protocol.NewSessionID()
	_, err = revoke(ada, random[:])
	wantCode(t, "an id that nobody has", err, protocol.CodeNotFound)
	if list := sessions(ada); len(list) != 2 {
		t.Fatalf("refusals have ended something: %v", list)
	}

	r, err := revoke(ada, id)
	if err != nil || r.GetAlready() || r.GetStored().GetStoredOn() != 2 {
		t.Fatalf("RevokeSession = %v, %v", r, err)
	}
	told.Expect("that the session has ended", func(e *pb.Event) bool { return bytes.Equal(e.GetSessionRevoked().GetSessionId(), id) })
	wantCode(t, "its stream", attached.Err(), protocol.CodeSession)
	for i, w := range ws {
		elsewhere := phone.Use(w.info)
		_, err := tt.Do(elsewhere, elsewhere.At().IssueTicket, &pb.IssueTicketRequest{GroupId: gid})
		wantCode(t, []string{"a ticket at tracker 1", "a ticket at tracker 2"}[i], err, protocol.CodeSession)
		_, err = tt.Do(elsewhere, elsewhere.At().Renew, &pb.RenewRequest{})
		wantCode(t, "a renewal", err, protocol.CodeSession)
	}
	if r, err := revoke(ada, id); err != nil || !r.GetAlready() {
		t.Errorf("again: %v, %v, want already", r, err)
	}
	if list := sessions(ada); len(list) != 1 || !list[0].GetThis() {
		t.Errorf("afterwards %v are listed", list)
	}
}

// factCommits counts the commits that store facts.
type factCommits struct {
	store.Store
	n atomic.Int64
}

func (s *factCommits) Commit(b store.Batch) error {
	if len(b.Put) > 0 {
		s.n.Add(1)
	}
	return s.Store.Commit(b)
}

// A renewal confirms the record of the session once an hour, and changes nothing
// else of it: whoever renews all the time writes no more than others.
func TestRenewalConfirmsTheSession(t *testing.T) {
	commits := &factCommits{}
	var ahead atomic.Int64
	w := newWorld(t, options{
		store: func(db store.Store) store.Store { commits.Store = db; return commits },
		now:   func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	})
	ada := w.user("ada")
	before := sessions(ada)[0]
	for _, test := range []struct {
		ahead         time.Duration
		renewals      int
		commits, seen int64 // in addition; seen in ms at least
	}{
		{59 * time.Minute, 50, 0, 0},
		{61 * time.Minute, 1, 1, 1},
	} {
		ahead.Store(int64(test.ahead))
		n := commits.n.Load()
		for range test.renewals {
			r, err := tt.Do(ada, ada.At().Renew, &pb.RenewRequest{})
			if err != nil {
				t.Fatal(err)
			}
			ada.Session = r.GetSession()
		}
		if n := commits.n.Load() - n; n != test.commits {
			t.Errorf("%d renewals after %v have made %d commits, want %d", test.renewals, test.ahead, n, test.commits)
		}
		confirmed := w.confirmed(protocol.UserID(ada.User), before.GetSessionId())
		if confirmed-before.GetSinceMs() < test.seen {
			t.Errorf("after %v the session is confirmed at %d, begun at %d", test.ahead, confirmed, before.GetSinceMs())
		}
	}
	after := sessions(ada)
	if len(after) != 1 || !bytes.Equal(after[0].GetSessionId(), before.GetSessionId()) ||
		after[0].GetSinceMs() != before.GetSinceMs() || after[0].GetDevice() != before.GetDevice() || after[0].GetLastSeenMs() < before.GetLastSeenMs() {
		t.Errorf("the session was %v and is %v", before, after)
	}
}

// confirmed is when the record of a session was written last, Unix milliseconds.
func (w *world) confirmed(u protocol.UserID, id []byte) (ms int64) {
	w.replica.View(func(c *catalog.Catalog) {
		s, _ := c.Session(u, protocol.SessionID(id))
		ms = s.Confirmed
	})
	return ms
}

// A login that is over is not listed, nor counted as one of the most a user may
// have, also where the catalog still has it: a lone tracker lets nothing end for an hour.
func TestEndedLoginsAreNotListed(t *testing.T) {
	w := newWorld(t, options{})
	ada := w.user("ada")
	user, over := protocol.UserID(ada.User), time.Now().Add(-time.Hour).UnixMilli()
	_, err := w.replica.Propose(t.Context(), replica.Proposal{Build: func(*catalog.Catalog) (ds []catalog.Draft, _ error) {
		for i := range protocol.MaxSessionsPerUser {
			ds = append(ds, catalog.NewSession(user, catalog.Session{ID: protocol.SessionID{1, byte(i)}, Since: 1, Until: over})...)
		}
		return ds, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if list := sessions(ada); len(list) != 1 || !list[0].GetThis() {
		t.Errorf("%d sessions are listed, want this one", len(list))
	}
	if err := ada.Login("ada", tt.Password); err != nil {
		t.Fatal(err)
	}
	w.replica.View(func(c *catalog.Catalog) {
		if c.Revoked(protocol.SessionID{1, 0}) {
			t.Error("a login ended one that was over")
		}
	})
}

// Whoever has logged in at a clock that was ahead need not do it again when that
// is set right, or at a tracker whose clock is.
func TestSessionOfAClockThatWasAhead(t *testing.T) {
	var ahead atomic.Int64
	ahead.Store(int64(10 * time.Minute))
	w := newWorld(t, options{now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	ada := w.user("ada")
	for _, by := range []time.Duration{10 * time.Minute, 0} {
		ahead.Store(int64(by))
		if _, err := tt.Do(ada, ada.At().ListGroups, &pb.ListGroupsRequest{}); err != nil {
			t.Errorf("%v ahead: %v", by, err)
		}
	}
	ahead.Store(-int64(2 * time.Hour))
	_, err := tt.Do(ada, ada.At().ListGroups, &pb.ListGroupsRequest{})
	wantCode(t, "a session that is made in two hours", err, protocol.CodeSession)
}

// A logout at a tracker whose clock is ahead ends the session at the others, too:
// they do not let it in until they know more.
func TestLogoutAtAClockThatIsAhead(t *testing.T) {
	var ahead atomic.Int64
	worlds := newWorldsOf(t,
		options{interval: 50 * time.Millisecond, now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }},
		options{interval: 50 * time.Millisecond})
	fast, right := worlds[0], worlds[1]
	fast.user("ada")
	ahead.Store(int64(30 * time.Minute))
	phone := fast.client()
	if err := phone.Login("ada", tt.Password); err != nil {
		t.Fatal(err)
	}
	session := phone.Session
	if _, err := tt.Do(phone, phone.At().Logout, &pb.LogoutRequest{}); err != nil {
		t.Fatal(err)
	}
	ahead.Store(0) // else it is the other one that serves nobody
	kept := phone.Use(right.info)
	kept.Session = session
	deadline := time.Now().Add(tt.Timeout)
	for { // it has to hear of the logout, and that the clocks agree
		_, err := tt.Do(kept, kept.At().ListGroups, &pb.ListGroupsRequest{})
		if err == nil {
			t.Fatal("a session that was ended is good")
		}
		if strings.Contains(err.Error(), "clock is ahead has changed your account") {
			wantCode(t, "a session that was ended", err, protocol.CodeBusy)
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
