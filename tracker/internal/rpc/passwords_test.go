package rpc_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/internal/calltest"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// unlimited lets a test try passwords as often as it likes.
func unlimited() map[string]string {
	return map[string]string{auth.LimitFailures: "off", auth.LimitLogins: "off", auth.LimitLoginsTotal: "off"}
}

// wireLogin is a login as bytes: all that the tracker answers, but for what
// tells the time, and how long it took.
func wireLogin(w *world, c *tt.Client, name, password string) (string, time.Duration) {
	w.t.Helper()
	transport := calltest.Transport(c.Host, w.info.ID)
	defer transport.CloseIdleConnections()
	body, err := proto.Marshal(&pb.LoginRequest{Name: name, Password: password})
	if err != nil {
		w.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "http://tracker"+pb.TrackerServiceLoginProcedure, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/proto")
	begun := time.Now()
	res, err := transport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	took := time.Since(begun)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, h := range []string{"Date", protocol.HeaderStamp, protocol.HeaderTime} {
		res.Header.Del(h)
	}
	var all bytes.Buffer
	fmt.Fprintln(&all, res.Status)
	if err := res.Header.Write(&all); err != nil {
		w.t.Fatal(err)
	}
	all.Write(content)
	return all.String(), took
}

// compareLogins tries n times each at a user who exists with a wrong password
// and at one who does not, by turns, and returns the ratio of the medians.
func compareLogins(w *world, n int) float64 {
	w.t.Helper()
	c := w.client().Use(w.info)
	var known, unknown []time.Duration
	for i := range n {
		answers := map[string]string{}
		// In no fixed order: the collector comes at a beat of its own.
		for _, name := range [][]string{{"ada", "eve"}, {"eve", "ada"}}[rand.IntN(2)] {
			answer, took := wireLogin(w, c, name, fmt.Sprint("wrong horse ", i))
			answers[name] = answer
			if name == "ada" {
				known = append(known, took)
			} else {
				unknown = append(unknown, took)
			}
		}
		if answers["ada"] != answers["eve"] {
			w.t.Fatalf("the answers differ:\n%q\n%q", answers["ada"], answers["eve"])
		}
		if a := answers["ada"]; !strings.Contains(a, "wrong user name or password") || !strings.HasPrefix(a, "401 ") {
			w.t.Fatalf("not what was asked for: %q", a)
		}
	}
	slices.Sort(known)
	slices.Sort(unknown)
	a, b := known[n/2], unknown[n/2]
	ratio := float64(a) / float64(b)
	w.t.Logf("%d logins each: median %v with a wrong password, %v of an unknown user, ratio %.3f", n, a, b, ratio)
	return ratio
}

// Whether a name exists does not show at a login: neither in a byte of the
// answer nor in its time. A difference that is in the code shows in each round.
func TestUnknownUserLooksLikeAWrongPassword(t *testing.T) {
	w := newWorld(t, options{realHashes: true, limits: unlimited()})
	w.user("ada")
	var ratio float64
	for range 4 {
		if ratio = compareLogins(w, 12); ratio > 0.75 && ratio < 1.33 {
			return
		}
	}
	t.Errorf("the medians of four rounds differ, in the last one by a factor of %.2f", ratio)
}

// TestLongUnknownUserLooksLikeAWrongPassword is the same in earnest: the medians of 200 are within 10 %.
func TestLongUnknownUserLooksLikeAWrongPassword(t *testing.T) {
	if os.Getenv("P2PSHARE_LONG") == "" {
		t.Skip("400 hashes a round: set P2PSHARE_LONG=1; TestUnknownUserLooksLikeAWrongPassword does the same with fewer")
	}
	w := newWorld(t, options{realHashes: true, limits: unlimited()})
	w.user("ada")
	var ratio float64
	for range 2 {
		if ratio = compareLogins(w, 200); ratio > 0.9 && ratio < 1.1 {
			return
		}
	}
	t.Errorf("the medians differ by a factor of %.2f, want 10 %% at most", ratio)
}

// The limit of wrong passwords treats names alike that exist and that do not.
func TestUnknownUserIsSlowedDownAlike(t *testing.T) {
	w := newWorld(t, options{})
	w.user("ada")
	answers := map[string]string{}
	for _, name := range []string{"ada", "eve"} {
		c := w.client()
		for range 7 {
			text, _ := wireLogin(w, c, name, "wrong horse")
			answers[name] += text
		}
	}
	if answers["ada"] != answers["eve"] || !strings.Contains(answers["eve"], "too many attempts") {
		t.Errorf("the answers differ, or nothing is slowed down:\n%q\n%q", answers["ada"], answers["eve"])
	}
}

// A client from which the user has logged in is not kept out by somebody else's
// guessing, whichever tracker it comes to, also after it has logged out.
func TestKnownClientIsNotLockedOut(t *testing.T) {
	ws := newWorlds(t, 2, options{interval: 20 * time.Millisecond})
	ada := ws[0].user("ada")
	if _, err := tt.Do(ada, ada.At().Logout, &pb.LogoutRequest{}); err != nil {
		t.Fatal(err)
	}
	eve := ws[1].client()
	for range 5 {
		wantCode(t, "a guess", eve.Login("ada", "wrong horse"), protocol.CodeAuth)
	}
	wantCode(t, "one more guess", eve.Login("ada", "wrong horse"), protocol.CodeRate)
	wantCode(t, "the user at a new client", ws[1].client().Login("ada", tt.Password), protocol.CodeRate)
	wantCode(t, "the user at the known client", ada.Use(ws[1].info).Login("ada", tt.Password), "")
}

// A password whose hash cost less than hashes do today is hashed again when it
// is typed. Sessions go on, at both trackers.
func TestOldHashIsMadeAgain(t *testing.T) {
	ws := newWorlds(t, 2, options{interval: 20 * time.Millisecond})
	ada := ws[0].user("ada")
	id := protocol.UserID(ada.User)
	old, err := auth.NewHasher(auth.HasherOptions{Params: auth.Params{Memory: 8, Time: 1, Threads: 1}}).Hash(t.Context(), "", []byte(tt.Password))
	if err != nil {
		t.Fatal(err)
	}
	// As if it had been made years ago.
	_, err = ws[0].replica.Propose(t.Context(), replica.Proposal{Build: func(c *catalog.Catalog) ([]catalog.Draft, error) {
		return c.NewPassword(id, old, false), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	phone := ws[1].client()
	wantCode(t, "a wrong password", phone.Login("ada", "wrong horse"), protocol.CodeAuth)
	if v := verifier(ws[1], id); v.PHC != old {
		t.Fatalf("a wrong password made a hash: %+v", v)
	}
	wantCode(t, "the right one", phone.Login("ada", tt.Password), "")
	made := verifier(ws[1], id)
	if !strings.HasPrefix(made.PHC, "$argon2id$v=19$m=64,t=1,p=1$") || made.Set == made.Stamp || made.Changes != 1 {
		t.Fatalf("after the login the verifier is %+v", made)
	}
	desk := ws[0].client()
	wantCode(t, "again, at the other tracker", desk.Login("ada", tt.Password), "")
	if v := verifier(ws[0], id); v != made {
		t.Errorf("the next login made another hash: %+v after %+v", v, made)
	}
	for i, c := range []*tt.Client{phone, desk} {
		for _, w := range ws {
			_, err := tt.Do(c.Use(w.info), c.At().Renew, &pb.RenewRequest{})
			wantCode(t, fmt.Sprintf("session %d", i), err, "")
		}
	}
	// The password is changed as ever: the sessions of the old one end.
	_, err = tt.Do(desk, desk.At().ChangePassword, &pb.ChangePasswordRequest{OldPassword: tt.Password, NewPassword: "battery staple"})
	wantCode(t, "a change", err, "")
	_, err = phone.Groups()
	wantCode(t, "the other session afterwards", err, protocol.CodeSession)
}

func verifier(w *world, id protocol.UserID) (v catalog.Verifier) {
	w.replica.View(func(c *catalog.Catalog) { v, _ = c.Verifier(id) })
	return v
}
