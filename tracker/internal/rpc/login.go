package rpc

import (
	"context"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// Login checks a password and makes a session. Only the present holder of the
// name is ever let in: equal weak passwords must not let one claimant of a
// name into the account of another.
func (s *Server) Login(ctx context.Context, req *connect.Request[pb.LoginRequest]) (*connect.Response[pb.LoginResponse], error) {
	c := callOf(ctx)
	c.note.User = printable(req.Msg.GetName())
	address := c.remote.place()
	if err := s.cfg.Limits.Allow(auth.LimitLogins, address); err != nil {
		return nil, err
	}
	reply, err := s.login(ctx, c, req)
	if protocol.CodeOf(err) == protocol.CodeBusy {
		s.cfg.Limits.GiveBack(auth.LimitLogins, address)
	}
	return reply, err
}

func (s *Server) login(ctx context.Context, c *call, req *connect.Request[pb.LoginRequest]) (*connect.Response[pb.LoginResponse], error) {
	if s.cfg.Limits.Allow(auth.LimitLoginsTotal, "") != nil {
		return nil, protocol.Errorf(protocol.CodeBusy, "the tracker is busy with logins; try again in a moment")
	}
	// An account or a password that was made at another tracker a moment ago counts.
	s.replica.CatchUp(ctx)
	u, moved, err := s.loginAccount(req.Msg)
	if err != nil {
		return nil, err
	}
	// What is counted for somebody who does not exist must look the same.
	account := nobody(req.Msg.GetName())
	if !u.ID.IsZero() {
		account = u.ID.String()
		s.replica.AwaitVerifier(ctx, u.ID)
	}
	verifier, err := s.checkPassword(ctx, account, u.ID, req.Msg.GetPassword())
	if err != nil {
		return nil, err
	}
	c.note.User = u.Name
	s.replica.Observe(c.seen)
	if u.Disabled {
		return nil, protocol.Errorf(protocol.CodeForbidden, "this account was disabled by the operator of the network")
	}
	if moved {
		return nil, protocol.Errorf(protocol.CodeRenamed,
			"the name %s now means somebody else than before; your account is shown as %s, use that name",
			protocol.Quote(req.Msg.GetName()), protocol.Quote(u.Name))
	}
	if err := s.cfg.Limits.Allow(auth.LimitSessions, u.ID.String()); err != nil {
		return nil, err
	}
	session := &credential.Session{
		Network: s.replica.Network(), User: u.ID, ID: protocol.NewSessionID(), Peer: c.remote.id,
		Resets: verifier.Resets, Changes: verifier.Changes, Verifier: verifier.Set,
	}
	envelope, err := s.issue(session)
	if err != nil {
		return nil, err
	}
	fresh := s.freshHash(ctx, verifier, req.Msg.GetPassword())
	stored, _, err := s.propose(ctx, func(cat *catalog.Catalog) ([]catalog.Draft, error) {
		return newSession(cat, s.cfg.Now(), session, catalog.Session{
			ID: session.ID, Device: device(req.Msg.GetDevice()),
			Since: s.cfg.Now().UnixMilli(), Until: session.RenewUntil.UnixMilli(), Client: c.remote.text,
		}, fresh)
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&pb.LoginResponse{Session: envelope, UserId: u.ID[:], Name: u.Name, Stored: stored}), nil
}

// nobody is the account that tries at a name which nobody has are counted for.
// Names longer than any are counted together: what is remembered is bounded.
func nobody(name string) string {
	const longest = 32 + 1 + 32 // the name, a tilde and the whole of the id
	if len(name) > longest {
		return "names too long"
	}
	return "name " + strings.ToLower(name)
}

// loginAccount returns whose password a login has to show, the zero User if
// nobody's. That is whom the name means. A client that knows another id for the
// name (moved) hears that it changed hands, but only with the password of that
// id: a stranger learns from no answer which names there are.
func (s *Server) loginAccount(req *pb.LoginRequest) (u catalog.User, moved bool, err error) {
	err = s.view(func(cat *catalog.Catalog) error {
		u, _ = cat.UserNamed(req.GetName())
		if len(req.GetUserId()) == 0 {
			return nil
		}
		id, err := protocol.IDFromBytes[protocol.UserID](req.GetUserId())
		if err != nil || u.ID == id && !id.IsZero() {
			return err
		}
		u, _ = cat.User(id)
		moved = true
		return nil
	})
	return u, moved, err
}

// checkPassword returns the verifier that the password of the user fits. With
// the zero id it does the same work and refuses.
func (s *Server) checkPassword(ctx context.Context, account string, id protocol.UserID, text string) (catalog.Verifier, error) {
	device := ""
	s.replica.View(func(cat *catalog.Catalog) {
		if client := callOf(ctx).remote.text; cat.HasClient(id, client) {
			device = client
		}
	})
	done, err := s.guard.Begin(ctx, account, device)
	if err != nil {
		return catalog.Verifier{}, err
	}
	outcome := auth.Undecided
	defer func() { done(outcome) }()
	var v catalog.Verifier
	s.replica.View(func(cat *catalog.Catalog) { v, _ = cat.Verifier(id) })
	if !id.IsZero() && v.PHC == "" {
		return v, &protocol.Error{
			Code: protocol.CodeBusy, RetryAfter: time.Second,
			Msg: "this tracker has not caught up with this account yet",
		}
	}
	// A password that could not have been chosen is a wrong one, after as much work.
	phc := v.PHC
	password, err := auth.Password(text)
	if err != nil || protocol.CheckPassword(text, 1) != nil {
		phc, password = "", nil
	}
	right, err := s.cfg.Hasher.Check(ctx, callOf(ctx).remote.place(), phc, password)
	if err != nil {
		return catalog.Verifier{}, err
	}
	if !right {
		outcome = auth.Wrong
		return catalog.Verifier{}, auth.WrongPassword()
	}
	outcome = auth.Right
	return v, nil
}

// freshHash makes a hash with today's costs of a password that was right and
// whose hash cost less; "" if it need not be, or cannot be now.
func (s *Server) freshHash(ctx context.Context, v catalog.Verifier, text string) string {
	if !s.cfg.Hasher.Outdated(v.PHC) {
		return ""
	}
	password, err := auth.Password(text)
	if err != nil {
		return ""
	}
	phc, err := s.cfg.Hasher.Hash(ctx, callOf(ctx).remote.place(), password)
	if err != nil {
		log.Infow("a hash of before stays until the next login", "err", err)
	}
	return phc
}

// newSession drafts a session, the end of the oldest ones beyond the limit and,
// if there is one, a fresh hash of the password.
func newSession(c *catalog.Catalog, now time.Time, s *credential.Session, entry catalog.Session, phc string) ([]catalog.Draft, error) {
	if v, ok := c.Verifier(s.User); ok && outdated(s, v) {
		return nil, auth.WrongPassword() // the password was changed meanwhile
	}
	drafts := catalog.NewSession(s.User, entry)
	if phc != "" {
		drafts = append(drafts, c.NewHash(s.User, s.Verifier, phc)...)
	}
	older := goingOn(c, s.User, now)
	for len(older) >= protocol.MaxSessionsPerUser {
		drafts = append(drafts, catalog.RevokeSession(older[0].ID, s.User, older[0].Until)...)
		older = older[1:]
	}
	return drafts, nil
}

// device is what a client calls itself, cut to what a list of sessions shows.
func device(text string) string {
	r := []rune(protocol.Printable(text))
	return string(r[:min(len(r), 40)])
}
