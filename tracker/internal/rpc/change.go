package rpc

import (
	"context"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
)

// build decides on a change: what to write, nothing if it has come true
// before, or why not. It may run twice, and then starts from scratch.
type build func(c *catalog.Catalog) ([]catalog.Draft, error)

// propose makes a change. already tells that there was nothing to write.
func (s *Server) propose(ctx context.Context, b build) (stored *pb.Stored, already bool, err error) {
	st, err := s.replica.Propose(ctx, replica.Proposal{
		Build: func(c *catalog.Catalog) ([]catalog.Draft, error) {
			drafts, err := b(c)
			already = len(drafts) == 0
			return drafts, err
		},
	})
	if err != nil {
		return nil, false, err
	}
	return &pb.Stored{StoredOn: uint32(st.On), Trackers: uint32(st.Trackers)}, already, nil
}

// view reads the catalog and returns f's error.
func (s *Server) view(f func(c *catalog.Catalog) error) (err error) {
	s.replica.View(func(c *catalog.Catalog) { err = f(c) })
	return err
}

func stampPB(s protocol.Stamp) *pb.Stamp {
	return &pb.Stamp{WallMs: s.Wall, Logical: s.Logical, Origin: s.Origin}
}
