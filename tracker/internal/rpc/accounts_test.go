package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

func wantCode(t *testing.T, what string, err error, want protocol.Code) {
	t.Helper()
	if got := protocol.CodeOf(err); got != want {
		t.Errorf("%s: %v (%s), want %q", what, err, got, want)
	}
}

func TestRegister(t *testing.T) {
	w := newWorld(t, options{})
	ada := w.client()
	nonce := tt.Nonce()
	register := func(c *tt.Client, name, password string, nonce []byte) (*pb.RegisterResponse, error) {
		return tt.Do(c, c.At().Register, &pb.RegisterRequest{Name: name, Password: password, Nonce: nonce})
	}
	first, err := register(ada, "Ada", tt.Password, nonce)
	if err != nil {
		t.Fatal(err)
	}
	if first.GetName() != "ada" || first.GetStored().GetStoredOn() != 1 || first.GetStored().GetTrackers() != 1 {
		t.Errorf("Register = %v, want ada stored on 1 of 1", first)
	}
	again, err := register(ada, "ada", tt.Password, nonce)
	if err != nil || !bytes.Equal(again.GetUserId(), first.GetUserId()) {
		t.Errorf("the same request again: %v, %v, want the same account", again, err)
	}
	tests := []struct {
		name           string
		who            *tt.Client
		user, password string
		nonce          []byte
		want           protocol.Code
	}{
		{"same nonce, other password", ada, "ada", "another password", nonce, protocol.CodeExists},
		{"same nonce, other client", w.client(), "ada", tt.Password, nonce, protocol.CodeExists},
		{"taken", ada, "ADA", tt.Password, tt.Nonce(), protocol.CodeExists},
		{"bad name", ada, "a b", tt.Password, tt.Nonce(), protocol.CodeName},
		{"name of another script", ada, "аlice", tt.Password, tt.Nonce(), protocol.CodeName},
		{"name with a suffix", ada, "ada~3f9a", tt.Password, tt.Nonce(), protocol.CodeName},
		{"short password", ada, "bob", "1234567", tt.Nonce(), protocol.CodePassword},
		{"password with a control character", ada, "bob", "1234567\x00", tt.Nonce(), protocol.CodePassword},
		{"no nonce", ada, "bob", tt.Password, nil, protocol.CodeUsage},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, err := register(tc.who, tc.user, tc.password, tc.nonce)
			wantCode(t, "Register", err, tc.want)
		})
	}
}

func TestRegistrationClosed(t *testing.T) {
	w := newWorld(t, options{closed: true})
	wantCode(t, "Register", w.client().Register("ada"), protocol.CodeForbidden)
}

func TestLogin(t *testing.T) {
	w := newWorld(t, options{})
	ada := w.user("ada")
	bob := w.user("bob")
	tests := []struct {
		name string
		req  *pb.LoginRequest
		want protocol.Code
	}{
		{"right", &pb.LoginRequest{Name: "ADA", Password: tt.Password}, ""},
		{"right, with the id", &pb.LoginRequest{Name: "ada", Password: tt.Password, UserId: ada.User}, ""},
		{"wrong password", &pb.LoginRequest{Name: "ada", Password: "wrong horse"}, protocol.CodeAuth},
		{"no password", &pb.LoginRequest{Name: "ada"}, protocol.CodeAuth},
		{"unknown user", &pb.LoginRequest{Name: "eve", Password: tt.Password}, protocol.CodeAuth},
		{"no name at all", &pb.LoginRequest{Name: "\x1b[2J", Password: tt.Password}, protocol.CodeAuth},
		{"the name means another id", &pb.LoginRequest{Name: "ada", Password: tt.Password, UserId: bob.User}, protocol.CodeRenamed},
		{"an id of wrong length", &pb.LoginRequest{Name: "ada", Password: tt.Password, UserId: []byte{1}}, protocol.CodeUsage},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			c := w.client()
			_, err := tt.Do(c, c.At().Login, tc.req)
			wantCode(t, "Login", err, tc.want)
		})
	}
	unknown, wrong := w.client().Login("nobody", tt.Password), w.client().Login("ada", "wrong horse")
	if unknown == nil || wrong == nil || unknown.Error() != wrong.Error() {
		t.Errorf("unknown user %q and wrong password %q differ", unknown, wrong)
	}
}

// A stranger learns from no answer to a login whether there is such an account.
func TestLoginTellsStrangersNothing(t *testing.T) {
	w := newWorld(t, options{limits: map[string]string{auth.LimitFailures: "1/h,3"}})
	ada, eve := w.user("ada"), w.user("eve")
	login := func(name string, id []byte, password string) error {
		c := w.client()
		_, err := tt.Do(c, c.At().Login, &pb.LoginRequest{Name: name, UserId: id, Password: password})
		return err
	}
	same := func(what string, id []byte, password string, want protocol.Code) {
		t.Helper()
		there, not := login("ada", id, password), login("nobody", id, password)
		wantCode(t, what, there, want)
		if strings.ReplaceAll(there.Error(), "ada", "nobody") != not.Error() {
			t.Errorf("%s: %q for a name that there is, %q for one that is not", what, there, not)
		}
	}
	same("an id that nobody has", bytes.Repeat([]byte{7}, 16), tt.Password, protocol.CodeAuth)
	same("no id", make([]byte, 16), tt.Password, protocol.CodeAuth)
	same("one's own id", eve.User, tt.Password, protocol.CodeRenamed)
	// The password of an account is guessed no faster by way of its id.
	for range 3 {
		wantCode(t, "the id of another account", login("nobody", ada.User, "wrong horse"), protocol.CodeAuth)
	}
	wantCode(t, "one guess more", login("nobody", ada.User, "wrong horse"), protocol.CodeRate)
}

func TestSessionIsBoundToItsClient(t *testing.T) {
	w := newWorld(t, options{})
	ada := w.user("ada")
	tests := []struct {
		name    string
		session []byte
	}{
		{"none", nil},
		{"nonsense", []byte("nonsense")},
		{"another client's", ada.Session},
		{"with a byte behind", append(bytes.Clone(ada.Session), 0)},
		{"too long", make([]byte, 4<<10)},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			eve := w.client()
			eve.Session = tc.session
			_, err := eve.Groups()
			wantCode(t, "ListGroups", err, protocol.CodeSession)
		})
	}
}

func TestLogoutEndsOneSession(t *testing.T) {
	w := newWorld(t, options{})
	ada := w.user("ada")
	phone := w.client()
	if err := phone.Login("ada", tt.Password); err != nil {
		t.Fatal(err)
	}
	if r, err := tt.Do(ada, ada.At().Logout, &pb.LogoutRequest{}); err != nil || r.GetAlready() {
		t.Fatalf("Logout = %v, %v", r, err)
	}
	_, err := ada.Groups()
	wantCode(t, "ListGroups after logout", err, protocol.CodeSession)
	if r, err := tt.Do(ada, ada.At().Logout, &pb.LogoutRequest{}); err != nil || !r.GetAlready() {
		t.Errorf("Logout again = %v, %v, want already", r, err)
	}
	_, err = phone.Groups()
	wantCode(t, "ListGroups of the other client", err, "")
}

func TestChangePassword(t *testing.T) {
	w := newWorld(t, options{})
	ada := w.user("ada")
	phone := w.client()
	if err := phone.Login("ada", tt.Password); err != nil {
		t.Fatal(err)
	}
	_, err := tt.Do(ada, ada.At().ChangePassword, &pb.ChangePasswordRequest{OldPassword: "wrong horse", NewPassword: "battery staple"})
	wantCode(t, "with a wrong old password", err, protocol.CodeAuth)
	_, err = tt.Do(ada, ada.At().ChangePassword, &pb.ChangePasswordRequest{OldPassword: tt.Password, NewPassword: "short"})
	wantCode(t, "with a short new one", err, protocol.CodePassword)

	events := ada.Attach()
	other := phone.Attach()
	r, err := tt.Do(ada, ada.At().ChangePassword, &pb.ChangePasswordRequest{OldPassword: tt.Password, NewPassword: "battery staple"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = ada.Groups()
	wantCode(t, "the caller's old session", err, protocol.CodeSession)
	_, err = phone.Groups()
	wantCode(t, "the other client", err, protocol.CodeSession)
	wantCode(t, "the other client's stream", other.Err(), protocol.CodeSession)

	ada.Session = r.GetSession()
	_, err = ada.Groups()
	wantCode(t, "the caller's new session", err, "")
	wantCode(t, "the old password", w.client().Login("ada", tt.Password), protocol.CodeAuth)
	wantCode(t, "the new password", w.client().Login("ada", "battery staple"), "")

	// The caller's own stream lives on: an event still comes over it.
	ada.CreateGroup("after")
	events.Expect("of the new group", func(e *pb.Event) bool { return e.GetGroupState().GetName() == "after" })
}

func TestNinthSessionEndsTheOldest(t *testing.T) {
	w := newWorld(t, options{})
	oldest := w.user("ada")
	for range protocol.MaxSessionsPerUser {
		if err := w.client().Login("ada", tt.Password); err != nil {
			t.Fatal(err)
		}
	}
	_, err := oldest.Groups()
	wantCode(t, "the oldest session", err, protocol.CodeSession)
}

// movable is a wall clock that a test moves on.
func movable() (now func() time.Time, advance func(time.Duration)) {
	var offset time.Duration
	ch := make(chan time.Duration, 1)
	ch <- offset
	return func() time.Time {
			d := <-ch
			ch <- d
			return time.Now().Add(d)
		}, func(d time.Duration) {
			ch <- <-ch + d
		}
}

func TestRenew(t *testing.T) {
	now, advance := movable()
	w := newWorld(t, options{now: now})
	ada := w.user("ada")
	advance(25 * time.Hour)
	_, err := ada.Groups()
	wantCode(t, "after a day", err, protocol.CodeSession)
	r, err := tt.Do(ada, ada.At().Renew, &pb.RenewRequest{})
	if err != nil {
		t.Fatal(err)
	}
	ada.Session = r.GetSession()
	_, err = ada.Groups()
	wantCode(t, "renewed", err, "")
	advance(31 * 24 * time.Hour)
	_, err = tt.Do(ada, ada.At().Renew, &pb.RenewRequest{})
	wantCode(t, "after a month", err, protocol.CodeSession)
}

func TestGuessingIsSlowedDown(t *testing.T) {
	w := newWorld(t, options{})
	w.user("ada")
	eve := w.client()
	for range 5 {
		wantCode(t, "a guess", eve.Login("ada", "wrong horse"), protocol.CodeAuth)
		wantCode(t, "a guess at nobody", eve.Login("nobody", "wrong horse"), protocol.CodeAuth)
	}
	for _, name := range []string{"ada", "nobody"} {
		err := eve.Login(name, tt.Password)
		var e *protocol.Error
		if !errors.As(err, &e) || e.Code != protocol.CodeRate || e.RetryAfter < 40*time.Second {
			t.Errorf("sixth guess at %s: %v, want E_RATE for about 45 s", name, err)
		}
	}
}

func TestLimits(t *testing.T) {
	w := newWorld(t, options{limits: map[string]string{
		"registrations": "1/h,2", "logins": "1/h,3", "ops": "1/h,3", "calls": "1/h,12",
	}})
	ada := w.user("ada")
	bob := w.user("bob")
	wantCode(t, "third account", w.client().Register("carol"), protocol.CodeRate)
	wantCode(t, "third login", w.client().Login("ada", tt.Password), "")
	wantCode(t, "fourth login", w.client().Login("ada", tt.Password), protocol.CodeRate)
	for _, name := range []string{"a", "b", "c"} {
		ada.CreateGroup(name)
	}
	_, err := tt.Do(ada, ada.At().CreateGroup, &pb.CreateGroupRequest{Name: "d", Nonce: tt.Nonce()})
	wantCode(t, "fourth change", err, protocol.CodeRate)
	for range 8 {
		if _, err := ada.Groups(); err != nil {
			t.Fatal(err)
		}
	}
	_, err = ada.Groups()
	wantCode(t, "thirteenth call", err, protocol.CodeRate)
	bob.CreateGroup("bob is not slowed down")
}

func TestOperator(t *testing.T) {
	w := newWorld(t, options{})
	ada := w.user("ada")
	ctx := t.Context()

	password, err := w.server.ResetPassword(ctx, "Ada")
	if err != nil {
		t.Fatal(err)
	}
	_, err = ada.Groups()
	wantCode(t, "session after a reset", err, protocol.CodeSession)
	wantCode(t, "old password", w.client().Login("ada", tt.Password), protocol.CodeAuth)
	wantCode(t, "new password", ada.Login("ada", password), "")
	events := ada.Attach()

	if err := w.server.SetDisabled(ctx, "ada", true); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "stream of a disabled user", events.Err(), protocol.CodeSession)
	_, err = ada.Groups()
	wantCode(t, "session of a disabled user", err, protocol.CodeSession)
	wantCode(t, "login of a disabled user", w.client().Login("ada", password), protocol.CodeForbidden)
	wantCode(t, "with a wrong password", w.client().Login("ada", tt.Password), protocol.CodeAuth)
	if err := w.server.SetDisabled(ctx, "ada", false); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "login of an enabled user", w.client().Login("ada", password), "")

	_, err = w.server.ResetPassword(ctx, "nobody")
	wantCode(t, "reset of nobody", err, protocol.CodeNotFound)
	wantCode(t, "disable nobody", w.server.SetDisabled(ctx, "nobody", true), protocol.CodeNotFound)
	for _, a := range w.activity() {
		if a.Detail == password || a.Object == password {
			t.Errorf("the password is in the log: %+v", a)
		}
	}
}

// A classroom behind one address gets in at once.
func TestClassroom(t *testing.T) {
	w := newWorld(t, options{})
	const machines, each = 10, 12
	errs := make(chan error, machines)
	for i := range machines {
		c := w.client()
		go func() {
			for j := range each {
				name := fmt.Sprintf("student%d-%d", i, j)
				if err := errors.Join(c.Register(name), c.Login(name, tt.Password)); err != nil {
					errs <- fmt.Errorf("%s: %w", name, err)
					return
				}
			}
			errs <- nil
		}()
	}
	for range machines {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// Twice the same request at once makes one account, and twice the same name one holder.
func TestRegisterRaces(t *testing.T) {
	w := newWorld(t, options{})
	ada, eve := w.client(), w.client()
	nonce := tt.Nonce()
	type result struct {
		who string
		err error
	}
	results := make(chan result, 8)
	register := func(who string, c *tt.Client, nonce []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), tt.Timeout)
		defer cancel()
		_, err := c.At().Register(ctx, connect.NewRequest(&pb.RegisterRequest{Name: "ada", Password: tt.Password, Nonce: nonce}))
		results <- result{who, tt.Failure(err)}
	}
	for range 4 {
		go register("ada", ada, nonce)
		go register("eve", eve, tt.Nonce())
	}
	made := make(map[string]int)
	for range 8 {
		switch r := <-results; protocol.CodeOf(r.err) {
		case "":
			made[r.who]++
		case protocol.CodeExists:
		default:
			t.Errorf("Register by %s: %v", r.who, r.err)
		}
	}
	if len(made) != 1 || made["eve"] > 1 {
		t.Errorf("accounts made by %v, want by one of them, and one alone by eve", made)
	}
	if err := w.client().Login("ada", tt.Password); err != nil {
		t.Error(err)
	}
}
