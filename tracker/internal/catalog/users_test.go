package catalog_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

func TestOneNameOnBothSidesOfACut(t *testing.T) {
	w, a, b := two(t)
	a.do(catalog.NewAccount(uid(2), "bob", "$a"))
	b.do(catalog.NewAccount(uid(1), "bob", "$b"))
	if !a.c.ClaimHeld(catalog.NameClaims(catalog.NewAccount(uid(3), "bob", "$c"))[0]) {
		t.Fatal("the name is not held")
	}
	if a.c.ClaimHeld(catalog.NameClaims(catalog.NewAccount(uid(2), "bob", "$a"))[0]) {
		t.Fatal("repeating a creation is refused")
	}
	w.heal(t)
	for _, tr := range w.all {
		first, _ := tr.c.UserNamed("Bob")
		second, _ := tr.c.UserNamed("bob~01aa")
		if first.ID != uid(2) || first.Name != "bob" {
			t.Errorf("bob is %+v, want the earlier claimant", first)
		}
		if second.ID != uid(1) || second.Name != "bob~01aa" || second.Canonical != "bob" {
			t.Errorf("bob~01aa is %+v", second)
		}
		v, _ := tr.c.Verifier(uid(1))
		if v.PHC != "$b" {
			t.Errorf("verifier %q of the later claimant", v.PHC)
		}
	}
}

func TestVerifierEpochs(t *testing.T) {
	tests := []struct {
		name string
		do   func(a, b *tracker)
		want string
	}{
		{"changed twice here, once there later", func(a, b *tracker) {
			a.do(a.c.NewPassword(uid(1), "$a1", false))
			a.do(a.c.NewPassword(uid(1), "$a2", false))
			b.do(b.c.NewPassword(uid(1), "$b1", false))
		}, "$a2"},
		{"same epoch: later stamp", func(a, b *tracker) {
			a.do(a.c.NewPassword(uid(1), "$a1", false))
			b.do(b.c.NewPassword(uid(1), "$b1", false))
		}, "$b1"},
		{"a reset beats any number of changes", func(a, b *tracker) {
			a.do(a.c.NewPassword(uid(1), "$reset", true))
			for range 3 {
				b.do(b.c.NewPassword(uid(1), "$stolen", false))
			}
		}, "$reset"},
		{"a change after a reset", func(a, _ *tracker) {
			a.do(a.c.NewPassword(uid(1), "$reset", true))
			a.do(a.c.NewPassword(uid(1), "$own", false))
		}, "$own"},
		{"a new hash of the same password", func(a, _ *tracker) {
			a.rehash("$again")
		}, "$again"},
		{"a new hash twice", func(a, b *tracker) {
			a.rehash("$first")
			b.rehash("$second")
			b.rehash("$third")
		}, "$third"},
		{"a change beats a later hash of the password before", func(a, b *tracker) {
			a.do(a.c.NewPassword(uid(1), "$own", false))
			b.rehash("$old-again")
		}, "$own"},
		{"at one epoch, too", func(a, b *tracker) {
			a.do(a.c.NewPassword(uid(1), "$a1", false))
			b.do(b.c.NewPassword(uid(1), "$b1", false))
			a.rehash("$a1-again")
		}, "$b1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w, a, b := two(t)
			w.club(t, 1)
			test.do(a, b)
			w.heal(t)
			if v, ok := b.c.Verifier(uid(1)); !ok || v.PHC != test.want {
				t.Errorf("verifier %+v %v, want %s", v, ok, test.want)
			}
		})
	}
}

// rehash makes a new hash of the password that user 1 has here.
func (tr *tracker) rehash(phc string) {
	v, _ := tr.c.Verifier(uid(1))
	tr.do(tr.c.NewHash(uid(1), v.Set, phc))
}

// A new hash of the same password keeps what sessions name, and one of a
// password that is no more is not made.
func TestNewHash(t *testing.T) {
	w, a, b := two(t)
	w.club(t, 1)
	before, _ := a.c.Verifier(uid(1))
	if before.Set != before.Stamp {
		t.Fatalf("the first verifier %+v is not of its own time", before)
	}
	a.rehash("$again")
	a.rehash("$once-more")
	w.heal(t)
	if v, _ := b.c.Verifier(uid(1)); v.PHC != "$once-more" || v.Set != before.Set || v.Stamp == before.Stamp || v.Resets+v.Changes != 0 {
		t.Errorf("verifier %+v after %+v", v, before)
	}
	a.do(a.c.NewPassword(uid(1), "$new", false))
	if d := a.c.NewHash(uid(1), before.Set, "$old"); len(d) != 0 {
		t.Errorf("a hash of an old password: %v", d)
	}
}

// The clients from which a user has logged in are known as long as the record
// of the session is kept, also after its end.
func TestHasClient(t *testing.T) {
	const day = 24 * 60 * minute
	w, a, b := two(t)
	w.club(t, 1)
	until := w.wall + 30*day
	a.do(catalog.NewSession(uid(1), catalog.Session{ID: sid(1), Client: "12D3KooWx", Since: w.wall, Until: until}))
	a.do(catalog.NewSession(uid(1), catalog.Session{ID: sid(2), Since: w.wall, Until: until}))
	a.do(catalog.RevokeSession(sid(1), uid(1), until))
	w.heal(t)
	for _, tr := range []*tracker{a, b} {
		if !tr.c.HasClient(uid(1), "12D3KooWx") || tr.c.HasClient(uid(1), "12D3KooWy") || tr.c.HasClient(uid(1), "") || tr.c.HasClient(uid(2), "12D3KooWx") {
			t.Error("the wrong clients are known")
		}
		tr.c.Expire(until + 2*day)
		if tr.c.HasClient(uid(1), "12D3KooWx") {
			t.Error("known after the record has gone")
		}
	}
}

func TestDisabled(t *testing.T) {
	w, a, b := two(t)
	w.club(t, 1)
	a.do(catalog.SetDisabled(uid(1), true))
	w.heal(t)
	if u, _ := b.c.User(uid(1)); !u.Disabled {
		t.Error("not disabled")
	}
	b.do(catalog.SetDisabled(uid(1), false))
	w.heal(t)
	if u, _ := a.c.User(uid(1)); u.Disabled {
		t.Error("not enabled again")
	}
}

func TestSessionsExpire(t *testing.T) {
	w, a, b := two(t)
	w.club(t, 1)
	empty := a.c.Root()
	start := w.wall
	until, slack, day := start+1000*minute, 2*minute, 24*60*minute
	a.do(catalog.NewSession(uid(1), catalog.Session{ID: sid(1), Device: "laptop", Since: start, Until: until}))
	a.do(catalog.NewSession(uid(1), catalog.Session{ID: sid(2), Device: strings.Repeat("ä", 200), Since: start + 1, Until: until + day}))
	revocation := a.do(catalog.RevokeSession(sid(1), uid(1), until))
	if got := a.c.Sessions(uid(1)); len(got) != 1 || got[0].ID != sid(2) || got[0].Device != strings.Repeat("ä", 100) {
		t.Fatalf("sessions %+v, want the second alone", got)
	}
	stored := facts(a.c)
	w.heal(t)

	if got := a.c.Expire(until + slack - 1); got != nil || a.c.Root() != b.c.Root() {
		t.Fatalf("dropped %v before the end", got)
	}
	if got := a.c.Expire(until + slack); got != nil {
		t.Fatalf("dropped %v at the end", got)
	}
	if got := len(facts(a.c)); got != len(stored)-2 {
		t.Errorf("%d facts in the digests, want %d", got, len(stored)-2)
	}
	if !a.c.Revoked(sid(1)) || a.c.Len() != len(stored) {
		t.Error("what is expired is not held for a day")
	}
	// The other tracker, whose clock is behind, still has them and offers them.
	before := a.c.Root()
	mustMerge(t, a.c, facts(b.c)...)
	if a.c.Root() != before {
		t.Error("an expired fact came back")
	}
	b.c.Expire(until + slack + 5)
	if a.c.Root() != b.c.Root() {
		t.Error("roots differ when both have expired the same")
	}
	if got := a.c.Expire(until + slack + day - 1); got != nil {
		t.Fatalf("dropped %v before a day was over", got)
	}
	got := a.c.Expire(until + slack + day)
	slices.Sort(got)
	if len(got) != 2 || !strings.HasPrefix(string(got[0]), "revoked/") || !strings.HasPrefix(string(got[1]), "session/") {
		t.Fatalf("dropped %v, want session and revocation", got)
	}
	if a.c.Revoked(sid(1)) || len(a.c.Sessions(uid(1))) != 0 {
		t.Error("dropped facts are still in the views")
	}
	if changed, err := a.c.Merge(revocation[0]); changed || err != nil {
		t.Errorf("a dropped fact came back: %v %v", changed, err)
	}
	if a.c.Expire(start) != nil {
		t.Error("an earlier time did something")
	}
	a.c.Expire(until + 3*day)
	if a.c.Root() != empty {
		t.Error("root is not as before the sessions")
	}

	// A restart: what was stored is loaded, then expired, and its keys are told.
	c := catalog.New()
	mustMerge(t, c, stored...)
	if got := c.Expire(until + 3*day); len(got) != 3 {
		t.Errorf("dropped %v after loading, want three keys", got)
	}
	if c.Root() != empty {
		t.Error("root after loading and expiring differs")
	}
}

// The time to which facts have ended goes back only where none did in between.
func TestSetBack(t *testing.T) {
	w, a, _ := two(t)
	w.club(t, 1)
	until, slack := w.wall+1000*minute, 2*minute
	session := func(i byte, until int64) {
		a.do(catalog.NewSession(uid(1), catalog.Session{ID: sid(i), Since: w.wall, Until: until}))
	}
	back := func(what string, to int64, want bool) {
		t.Helper()
		before := a.c.Horizon()
		if got := a.c.SetBack(to); got != want || want && a.c.Horizon() != min(before, to) || !want && a.c.Horizon() != before {
			t.Errorf("%s: SetBack = %v, from %d to %d", what, got, before, a.c.Horizon())
		}
	}
	session(1, until)
	a.c.Expire(until + slack - 1)
	back("nothing has ended", until-100*minute, true)
	session(2, until-90*minute)
	if len(a.c.Sessions(uid(1))) != 2 {
		t.Error("what has not ended by then is not accepted")
	}
	a.c.Expire(until + slack + 9*minute)
	back("one is out of the digests", until+slack-1, false)
	back("it has ended by then as well", until+slack, true)
	session(3, until-minute)
	a.c.Expire(until + slack + 9*minute)
	session(4, until+5*minute)
	back("one was refused", until+slack+4*minute, false)
	back("that has ended by then as well", until+slack+5*minute, true)
}

func TestUnknownThings(t *testing.T) {
	c := catalog.New()
	if _, ok := c.User(uid(1)); ok {
		t.Error("user")
	}
	if _, ok := c.Verifier(uid(1)); ok {
		t.Error("verifier")
	}
	if _, ok := c.Get("user/x"); ok {
		t.Error("fact")
	}
	if c.Members(gid(1)) != nil || c.Requests(gid(1)) != nil || c.Sessions(uid(1)) != nil || c.SharesOf(uid(1)) != nil {
		t.Error("lists")
	}
	if c.ClaimHeld("group/x") || c.ClaimHeld(catalog.Key("owner/"+gid(1).String())) {
		t.Error("claims")
	}
	if got := c.LastRemoval(gid(1), uid(1)); got != (protocol.Stamp{}) {
		t.Error("removal")
	}
	if len(c.Children("")) != 0 || c.Root().Facts != 0 {
		t.Error("digests")
	}
}
