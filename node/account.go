package node

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// tellBudget is how long a logout waits for a tracker to hear of it. If none
// does, they are told later.
const tellBudget = 3 * time.Second

// CreateUser makes an account. Errors: E_EXISTS, E_NAME, E_PASSWORD, E_RATE, E_NO_TRACKER, ...
func (n *Node) CreateUser(ctx context.Context, user, password string) (Stored, error) {
	if _, err := protocol.CanonicalUser(user); err != nil {
		return Stored{}, err
	}
	if err := protocol.CheckPassword(password, 1); err != nil { // trackers know the minimum
		return Stored{}, err
	}
	nonce := protocol.NewNonce()
	res, err := trackers.Call(ctx, n.trackers, rpc.Register, &pb.RegisterRequest{Name: user, Password: password, Nonce: nonce[:]})
	n.did(Event{Kind: "create_user", User: user, Text: outcome(err)})
	if err != nil {
		return Stored{}, err
	}
	n.names.sawUser(res.GetName(), res.GetUserId())
	return n.stored(res.GetStored(), false), nil
}

// outcome is how a thing that the user did ended, for the log.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return string(protocol.CodeOf(err))
}

// Login begins a session; shares and unfinished downloads of the user go on.
// Whoever was logged in before is logged out. Errors: E_AUTH, E_RATE, E_NO_TRACKER, ...
func (n *Node) Login(ctx context.Context, user, password string) (Stored, error) {
	ctx, finish, err := n.begin(ctx)
	if err != nil {
		return Stored{}, err
	}
	defer finish()
	device, _ := os.Hostname() // nothing depends on it
	res, err := trackers.Call(ctx, n.trackers, rpc.Login, &pb.LoginRequest{
		Name: user, Password: password, UserId: n.names.user(user).GetId(), Device: device[:min(len(device), 64)],
	})
	n.did(Event{Kind: "login", User: protocol.Printable(user), Text: outcome(err)})
	if err != nil {
		return Stored{}, n.names.check(err, "", user)
	}
	id, err := protocol.IDFromBytes[protocol.UserID](res.GetUserId())
	if err != nil {
		return Stored{}, protocol.Errorf(protocol.CodeInternal, "the tracker's answer names no user: %w", err)
	}
	n.names.sawUser(res.GetName(), res.GetUserId())
	if err := n.endAccount(nil, errLoggedOut, true); err != nil {
		return Stored{}, err
	}
	s := &records.Session{Envelope: res.GetSession(), User: id, Name: res.GetName(), Network: n.trackers.Network()}
	if err := n.records.SetSession(s); err != nil {
		return Stored{}, err
	}
	if err := n.startAccount(s); err != nil {
		return Stored{}, err
	}
	return n.stored(res.GetStored(), false), nil
}

// begin takes the right to change who is logged in, which finish gives back.
// The context ends with the node, too.
func (n *Node) begin(ctx context.Context) (_ context.Context, finish func(), err error) {
	select {
	case n.changing <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	case <-n.ctx.Done():
		return nil, nil, errClosed
	}
	if n.ctx.Err() != nil {
		<-n.changing
		return nil, nil, errClosed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(n.ctx, func() { cancel(errClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
		<-n.changing
	}, nil
}

// resume goes on with the session of the records, if there is one.
func (n *Node) resume() error {
	s, err := n.records.Session()
	if err != nil || s == nil {
		return err
	}
	err = n.startAccount(s)
	if protocol.CodeOf(err) == protocol.CodeSession {
		n.tell(Event{Kind: "logged_out", User: protocol.Printable(s.Name), Text: "the session is over; log in again"})
		return n.records.SetSession(nil)
	}
	return err
}

// startAccount makes everything of a user go on.
func (n *Node) startAccount(s *records.Session) error {
	a, err := newAccount(n, s)
	if err != nil {
		return err
	}
	// Before the first event can come.
	n.gate.Open(s.Network)
	n.mu.Lock()
	n.account = a
	n.mu.Unlock()
	if err := n.trackers.SetSession(s.Envelope, s.Network); err != nil {
		n.takeAccount(a)
		n.gate.Shut()
		return err
	}
	a.resume()
	return nil
}

// takeAccount makes nobody be logged in and returns who was; nil if that is
// not want, where want is given.
func (n *Node) takeAccount(want *account) *account {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.account
	if want != nil && a != want {
		return nil
	}
	n.account = nil
	return a
}

// endAccount stops sharing and downloads at once and forgets the session; with
// tell set, trackers hear of it. The caller has the right of begin.
func (n *Node) endAccount(want *account, why error, tell bool) error {
	a := n.takeAccount(want)
	if a == nil {
		return nil
	}
	n.gate.Shut()
	n.server.CloseWhere(everyStream)
	cleared := n.trackers.ClearSession(tell)
	a.end(why)
	return errors.Join(cleared, n.records.SetSession(nil))
}

// Logout stops sharing, ends streams, forgets the session, then tells the
// trackers; it succeeds without any, and is then stored on none yet: they are
// told once they are there.
func (n *Node) Logout(ctx context.Context) (Stored, error) {
	ctx, finish, err := n.begin(ctx)
	if err != nil {
		return Stored{}, err
	}
	defer finish()
	a, err := n.current()
	if err != nil {
		return Stored{}, err
	}
	err = n.endAccount(a, errLoggedOut, true)
	n.did(Event{Kind: "logout", User: protocol.Printable(a.shownName()), Text: outcome(err)})
	if err != nil {
		return Stored{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, tellBudget)
	defer cancel()
	stored, err := n.trackers.TellLogouts(ctx)
	if err != nil {
		log.Infow("trackers will be told of the logout later", "err", err)
	}
	if stored == nil {
		return Stored{Trackers: n.trackers.Known()}, nil
	}
	return n.stored(stored, false), nil
}

// loggedOut is for a session that trackers do not accept any more.
func (n *Node) loggedOut(why error) {
	a, err := n.current()
	if err != nil {
		return
	}
	n.spawn(func() {
		_, finish, err := n.begin(n.ctx)
		if err != nil {
			return
		}
		defer finish()
		if _, again := n.trackers.Session(); again {
			return // another login came first
		}
		if err := n.endAccount(a, errNoSession, false); err != nil {
			log.Errorw("cannot forget the session", "err", err)
		}
		n.tell(Event{Kind: "logged_out", User: protocol.Printable(a.shownName()), Text: "logged out: " + why.Error()})
	})
}

// User returns who is logged in, as the network shows the name. E_SESSION.
func (n *Node) User() (string, error) {
	a, err := n.current()
	if err != nil {
		return "", err
	}
	return a.shownName(), nil
}

// ChangePassword ends the user's other sessions.
func (n *Node) ChangePassword(ctx context.Context, old, replacement string) (Stored, error) {
	ctx, finish, err := n.begin(ctx)
	if err != nil {
		return Stored{}, err
	}
	defer finish()
	a, err := n.current()
	if err != nil {
		return Stored{}, err
	}
	if err := protocol.CheckPassword(replacement, 1); err != nil {
		return Stored{}, err
	}
	res, err := trackers.Call(ctx, n.trackers, rpc.ChangePassword, &pb.ChangePasswordRequest{OldPassword: old, NewPassword: replacement})
	n.did(Event{Kind: "change_password", User: protocol.Printable(a.shownName()), Text: outcome(err)})
	if err != nil {
		return Stored{}, err
	}
	if err := n.keepSession(a, res.GetSession(), res.GetName()); err != nil {
		return Stored{}, err
	}
	if err := n.trackers.SetSession(res.GetSession(), a.network); err != nil {
		return Stored{}, err
	}
	a.forgetTickets() // they name the old session
	return n.stored(res.GetStored(), false), nil
}

// keepSession remembers a fresh session of the account.
func (n *Node) keepSession(a *account, envelope []byte, name string) error {
	a.rename(name)
	return n.records.SetSession(&records.Session{Envelope: envelope, User: a.user, Name: a.shownName(), Network: a.network})
}
