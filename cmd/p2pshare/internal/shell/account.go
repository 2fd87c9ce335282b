package shell

import (
	"context"
	"strings"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

// runFunc carries out a command.
type runFunc = func(context.Context, *Shell, call) (result, error)

func createUser(ctx context.Context, s *Shell, c call) (result, error) {
	user := c.arg(0)
	if _, err := protocol.CanonicalUser(user); err != nil {
		return result{}, err // before anybody types a password
	}
	password, err := s.secret(ctx, c, 1, "password for "+user, true)
	if err != nil {
		return result{}, err
	}
	st, err := s.Client.CreateUser(ctx, user, password)
	if err != nil {
		return result{}, err
	}
	return change(st, fields{"user": user}, "user %s created", user), nil
}

func login(ctx context.Context, s *Shell, c call) (result, error) {
	password, err := s.secret(ctx, c, 1, "password of "+protocol.Printable(c.arg(0)), false)
	if err != nil {
		return result{}, err
	}
	st, err := s.Client.Login(ctx, c.arg(0), password)
	if err != nil {
		return result{}, err
	}
	user, err := s.Client.User()
	if err != nil {
		return result{}, err
	}
	return change(st, fields{"user": user}, "logged in as %s", protocol.Printable(user)), nil
}

func logout(ctx context.Context, s *Shell, _ call) (result, error) {
	st, err := s.Client.Logout(ctx)
	if err != nil {
		return result{}, err
	}
	return change(st, nil, "logged out"), nil
}

func whoami(_ context.Context, s *Shell, _ call) (result, error) {
	user, err := s.Client.User()
	if err != nil {
		return result{}, err
	}
	return line(fields{"user": user}, "%s", protocol.Printable(user)), nil
}

func changePassword(ctx context.Context, s *Shell, c call) (result, error) {
	if _, err := s.Client.User(); err != nil {
		return result{}, err
	}
	old, err := s.secret(ctx, c, 0, "old password", false)
	if err != nil {
		return result{}, err
	}
	replacement, err := s.secret(ctx, c, 1, "new password", true)
	if err != nil {
		return result{}, err
	}
	st, err := s.Client.ChangePassword(ctx, old, replacement)
	if err != nil {
		return result{}, err
	}
	return change(st, nil, "password changed"), nil
}

func listSessions(ctx context.Context, s *Shell, _ call) (result, error) {
	sessions, err := s.Client.Sessions(ctx)
	if err != nil {
		return result{}, err
	}
	var r result
	all := []fields{}
	for _, l := range sessions {
		which := "other"
		if l.This {
			which = "this"
		}
		since, seen := l.Since.UTC().Format(time.RFC3339), l.LastSeen.UTC().Format(time.RFC3339)
		r.lines = append(r.lines, columns(l.ID, since, seen, which, l.Device))
		all = append(all, fields{"id": l.ID, "since": since, "last_seen": seen, "this": l.This, "online": l.Online, "device": l.Device})
	}
	r.fields = fields{"sessions": all}
	return r, nil
}

func revokeSession(ctx context.Context, s *Shell, c call) (result, error) {
	st, err := s.Client.RevokeSession(ctx, c.arg(0))
	if err != nil {
		return result{}, err
	}
	id := strings.ToLower(c.arg(0))
	return change(st, fields{"session": id}, "session %s ended", id), nil
}

func help(_ context.Context, _ *Shell, c call) (result, error) {
	if len(c.args) == 1 {
		about := lookUp(strings.ToLower(c.arg(0)))
		if about == nil {
			return result{}, protocol.Errorf(protocol.CodeUsage, "unknown command %s; \"help\" lists the commands", protocol.Quote(c.arg(0)))
		}
		return about.about(), nil
	}
	var r result
	all := []fields{}
	for _, known := range table() {
		r.lines = append(r.lines, known.usage()+"\t"+known.help)
		all = append(all, known.fields())
	}
	r.fields = fields{"commands": all}
	return r, nil
}

// about is what help tells of one command.
func (c *command) about() result {
	return result{
		lines:  []string{"usage: " + c.usage(), c.help},
		fields: fields{"commands": []fields{c.fields()}},
	}
}

func (c *command) fields() fields { return fields{"name": c.name, "args": c.args, "help": c.help} }

func quit(context.Context, *Shell, call) (result, error) { return result{}, ErrQuit }

func listTrackers(ctx context.Context, s *Shell, _ call) (result, error) {
	if s.Introduce != nil {
		s.Introduce(ctx)
	}
	var r result
	all := []fields{}
	for _, t := range s.Client.Trackers(ctx) {
		state := t.State
		if t.Reason != "" {
			state += ": " + t.Reason
		}
		r.lines = append(r.lines, columns(t.Number, t.Address, state))
		all = append(all, fields{"number": t.Number, "address": t.Address, "state": t.State, "reason": t.Reason})
	}
	r.fields = fields{"trackers": all}
	return r, nil
}
