package rpc

import (
	"context"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// Register makes an account. Its id follows from the caller, the name and the
// caller's nonce, so the same request again is the same account.
func (s *Server) Register(ctx context.Context, req *connect.Request[pb.RegisterRequest]) (*connect.Response[pb.RegisterResponse], error) {
	c := callOf(ctx)
	c.note.User = printable(req.Msg.GetName())
	if s.cfg.RegistrationClosed {
		return nil, protocol.Errorf(protocol.CodeForbidden, "this tracker takes no new users; ask its operator")
	}
	canonical, err := protocol.CanonicalUser(req.Msg.GetName())
	if err != nil {
		return nil, err
	}
	nonce, err := protocol.IDFromBytes[protocol.Nonce](req.Msg.GetNonce())
	if err != nil {
		return nil, err
	}
	password, err := s.newPassword(req.Msg.GetPassword())
	if err != nil {
		return nil, err
	}
	// Whether a name is taken must be told here; asking is limited like making.
	address := c.remote.place()
	if err := s.cfg.Limits.Allow(auth.LimitRegistrations, address); err != nil {
		return nil, err
	}
	id := protocol.NewUserID(c.remote.text, canonical, nonce)
	stored, err := s.register(ctx, id, canonical, password)
	if protocol.CodeOf(err) == protocol.CodeBusy {
		s.cfg.Limits.GiveBack(auth.LimitRegistrations, address)
	}
	if err != nil {
		return nil, err
	}
	name := canonical
	s.replica.View(func(cat *catalog.Catalog) { name = nameOf(cat, id) })
	c.note.User = name
	return connect.NewResponse(&pb.RegisterResponse{UserId: id[:], Name: name, Stored: stored}), nil
}

func (s *Server) register(ctx context.Context, id protocol.UserID, canonical string, password []byte) (*pb.Stored, error) {
	place := callOf(ctx).remote.place()
	var verifier catalog.Verifier
	err := s.view(func(cat *catalog.Catalog) error {
		if _, ok := cat.User(id); ok {
			verifier, _ = cat.Verifier(id)
			return nil
		}
		return nameFree(cat, canonical)
	})
	if err != nil {
		return nil, err
	}
	if verifier.PHC != "" {
		// The request was done before. It is the same one only with the same password.
		if same, err := s.cfg.Hasher.Check(ctx, place, verifier.PHC, password); err != nil || !same {
			return nil, orElse(err, nameTaken(canonical))
		}
		stored, _, err := s.propose(ctx, func(*catalog.Catalog) ([]catalog.Draft, error) { return nil, nil })
		return stored, err
	}
	phc, err := s.cfg.Hasher.Hash(ctx, place, password)
	if err != nil {
		return nil, err
	}
	stored, _, err := s.propose(ctx, func(cat *catalog.Catalog) ([]catalog.Draft, error) {
		if _, ok := cat.User(id); ok {
			return nil, nil // the same request came twice at once
		}
		if err := nameFree(cat, canonical); err != nil {
			return nil, err
		}
		return catalog.NewAccount(id, canonical, phc), nil
	})
	return stored, err
}

// newPassword checks a password that somebody chose, before anything is hashed.
func (s *Server) newPassword(text string) ([]byte, error) {
	if err := protocol.CheckPassword(text, s.cfg.MinPassword); err != nil {
		return nil, err
	}
	return auth.Password(text)
}

func nameFree(c *catalog.Catalog, canonical string) error {
	if _, taken := c.UserNamed(canonical); taken {
		return nameTaken(canonical)
	}
	return nil
}

func nameTaken(name string) error {
	return protocol.Errorf(protocol.CodeExists, "the name %s is taken", protocol.Quote(name))
}

func orElse(err, other error) error {
	if err != nil {
		return err
	}
	return other
}
