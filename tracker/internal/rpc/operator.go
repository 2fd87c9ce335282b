package rpc

import (
	"context"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// ResetPassword is the operator's: it gives the user a random password,
// returns it, and ends all of the user's sessions. E_NOT_FOUND.
func (s *Server) ResetPassword(ctx context.Context, name string) (string, error) {
	password := auth.RandomPassword()
	for len(password) < s.cfg.MinPassword {
		password += auth.RandomPassword()
	}
	phc, err := s.cfg.Hasher.Hash(ctx, "operator", []byte(password))
	if err != nil {
		return "", err
	}
	err = s.operate(ctx, "reset_password", name, func(cat *catalog.Catalog, u catalog.User) []catalog.Draft {
		return append(cat.NewPassword(u.ID, phc, true), endSessions(cat, u.ID)...)
	})
	if err != nil {
		return "", err
	}
	return password, nil
}

// SetDisabled is the operator's: it disables an account and ends its sessions,
// or enables it again. E_NOT_FOUND.
func (s *Server) SetDisabled(ctx context.Context, name string, disabled bool) error {
	what := "enable_user"
	if disabled {
		what = "disable_user"
	}
	return s.operate(ctx, what, name, func(cat *catalog.Catalog, u catalog.User) []catalog.Draft {
		if u.Disabled == disabled {
			return nil
		}
		drafts := catalog.SetDisabled(u.ID, disabled)
		if disabled {
			drafts = append(drafts, endSessions(cat, u.ID)...)
		}
		return drafts
	})
}

func (s *Server) operate(ctx context.Context, what, name string, drafts func(*catalog.Catalog, catalog.User) []catalog.Draft) error {
	err := s.replica.Serving()
	if err == nil {
		_, _, err = s.propose(ctx, func(cat *catalog.Catalog) ([]catalog.Draft, error) {
			u, ok := cat.UserNamed(name)
			if !ok {
				return nil, protocol.Errorf(protocol.CodeNotFound, "there is no user %s", protocol.Quote(name))
			}
			return drafts(cat, u), nil
		})
	}
	result := "ok"
	if err != nil {
		result = string(publicCode(err))
	}
	s.activity.write(Activity{What: what, User: "operator", Object: printable(name), Result: result})
	return err
}

func endSessions(c *catalog.Catalog, id protocol.UserID) []catalog.Draft {
	var drafts []catalog.Draft
	for _, session := range c.Sessions(id) {
		drafts = append(drafts, catalog.RevokeSession(session.ID, id, session.Until)...)
	}
	return drafts
}
