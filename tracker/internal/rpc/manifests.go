package rpc

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

const (
	// manifestIdle is how long a manifest may stand still on its way, either way.
	manifestIdle = 10 * time.Second
	// leastManifest is what a short manifest counts for: what it costs beside its
	// bytes. So one user stores 16,384 an hour at most.
	leastManifest = 16 << 10
)

// PutManifest stores a manifest that a member is about to share.
func (s *Server) PutManifest(ctx context.Context, stream *connect.ClientStream[pb.PutManifestRequest]) (*connect.Response[pb.PutManifestResponse], error) {
	u := &manifestUpload{s: s, ctx: ctx, user: callOf(ctx).user.ID}
	defer u.release()
	for {
		deadlines(ctx, u.patience(), manifestIdle)
		if !stream.Receive() {
			break
		}
		if err := u.add(stream.Msg()); err != nil {
			return nil, err
		}
	}
	switch err := stream.Err(); {
	case err != nil && u.held && time.Now().After(u.until):
		return nil, noPlace("the description of the file took too long on its way")
	case err != nil:
		return nil, err
	}
	if err := u.finish(); err != nil {
		return nil, err
	}
	return connect.NewResponse(&pb.PutManifestResponse{Known: u.known}), nil
}

// manifestUpload is one manifest being received. It belongs to its handler.
type manifestUpload struct {
	s     *Server
	ctx   context.Context //nolint:containedctx // of the one call that this is a part of
	user  protocol.UserID
	id    protocol.FileID
	begun bool
	known bool      // here already: what still comes is dropped
	held  bool      // a place among the long ones
	until time.Time // how long the place may be kept
	data  []byte
	// received is how many bytes have come, dropped ones too.
	received int
}

func (u *manifestUpload) add(m *pb.PutManifestRequest) error {
	if !u.begun {
		if err := u.begin(m); err != nil {
			return err
		}
	}
	// Each message counts for a byte at least, so that none can come for ever.
	u.received += max(len(m.GetData()), 1)
	switch n := len(u.data) + len(m.GetData()); {
	case n > protocol.MaxManifest, u.received > protocol.MaxManifest+1: // an empty one is allowed
		return limitReached("bytes of the description of a file", protocol.MaxManifest)
	case u.known:
		return nil
	case n > protocol.ManifestChunk && !u.held:
		if err := u.acquire(); err != nil {
			return err
		}
	}
	u.data = append(u.data, m.GetData()...)
	return nil
}

// begin checks the first message, before anything is kept.
func (u *manifestUpload) begin(m *pb.PutManifestRequest) error {
	id, err := protocol.IDFromBytes[protocol.FileID](m.GetFileId())
	if err != nil {
		return err
	}
	u.id, u.begun = id, true
	err = u.s.view(func(c *catalog.Catalog) error {
		g, err := memberGroupByID(c, m.GetGroupId(), u.user)
		if err != nil {
			return err
		}
		_, u.known = c.File(g.ID, id)
		return nil
	})
	if err != nil || !u.known {
		return err
	}
	// The file may have come without its description, from a tracker that is gone.
	u.known, err = u.s.replica.HasManifest(id)
	return err
}

// acquire waits for a place; release gives it back.
func (u *manifestUpload) acquire() (err error) {
	u.until, err = u.s.uploads.take(u.ctx, u.user)
	u.held = err == nil
	return err
}

func (u *manifestUpload) release() {
	if u.held {
		u.s.uploads.give(u.user)
	}
}

// patience is how long the next message may take.
func (u *manifestUpload) patience() time.Duration {
	if !u.held {
		return manifestIdle
	}
	return min(manifestIdle, max(time.Until(u.until), time.Millisecond))
}

// finish checks the whole and stores it.
func (u *manifestUpload) finish() error {
	switch {
	case !u.begun:
		return protocol.Errorf(protocol.CodeUsage, "no description of a file was sent")
	case u.known:
		return nil
	case protocol.ManifestID(u.data) != u.id:
		return protocol.Errorf(protocol.CodeBadManifest, "the description of the file was damaged on its way")
	}
	if _, err := protocol.DecodeManifest(u.data); err != nil {
		return err
	}
	err := u.s.view(func(c *catalog.Catalog) error {
		if c.ManifestBytesOf(u.user)+int64(len(u.data)) > protocol.MaxManifestsPerUser {
			return limitReached("bytes of descriptions of one user's files", protocol.MaxManifestsPerUser)
		}
		return nil
	})
	if err != nil {
		return err
	}
	// What is stored and never shared is nobody's: this bounds its bytes and number.
	if err := u.s.cfg.Limits.AllowN(auth.LimitManifests, u.user.String(), max(len(u.data), leastManifest)); err != nil {
		return err
	}
	if err := u.s.replica.PutManifest(u.id, u.data); err != nil {
		return err
	}
	u.s.shown.add(u.user, u.id)
	return nil
}

// GetManifest sends a manifest to a member.
func (s *Server) GetManifest(ctx context.Context, req *connect.Request[pb.FileRequest], stream *connect.ServerStream[pb.ManifestChunk]) error {
	c := callOf(ctx)
	var id protocol.FileID
	err := s.view(func(cat *catalog.Catalog) error {
		_, f, err := memberFile(cat, req.Msg, c.user.ID)
		id = f.ID
		return err
	})
	if err != nil {
		return err
	}
	done, err := s.haveManifest(ctx, c.user.ID, id, func(whole []byte, until time.Time) error {
		for part := range slices.Chunk(whole, protocol.ManifestChunk) {
			if err := sendPart(ctx, stream, part, min(manifestIdle, max(time.Until(until), 1))); err != nil {
				return err
			}
		}
		return nil
	})
	if done || err != nil {
		return err
	}
	for at := int64(0); ; {
		part, size, err := s.manifestPart(id, at)
		if err != nil {
			return err
		}
		if err := sendPart(ctx, stream, part, manifestIdle); err != nil {
			return err
		}
		if at += int64(len(part)); at >= size || len(part) == 0 {
			return nil
		}
	}
}

// manifestPart reads a part of a manifest that is here, and size, the bytes of the whole.
func (s *Server) manifestPart(id protocol.FileID, at int64) (part []byte, size int64, err error) {
	part, size, ok, err := s.replica.ManifestPart(id, at, protocol.ManifestChunk)
	if !ok && err == nil {
		err = protocol.Errorf(protocol.CodeNotFound, "the description of this file is gone")
	}
	return part, size, err
}

// haveManifest fetches a manifest that is not here from another tracker, for the
// user u. From then on it is here, and not held while a client takes its time to
// receive it. Where the disk has no room for it, use gets it (done), and is to be
// over by until: it is held that long.
func (s *Server) haveManifest(ctx context.Context, u protocol.UserID, id protocol.FileID,
	use func(whole []byte, until time.Time) error,
) (done bool, err error) {
	if has, err := s.replica.HasManifest(id); has || err != nil {
		return false, err
	}
	until, err := s.fetches.take(ctx, u)
	if err != nil {
		return false, err
	}
	defer s.fetches.give(u)
	fetching, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	whole, err := s.replica.Manifest(fetching, id)
	if err != nil {
		return false, err
	}
	if has, err := s.replica.HasManifest(id); has || err != nil {
		return false, err
	}
	return true, use(whole, until)
}

func sendPart(ctx context.Context, stream *connect.ServerStream[pb.ManifestChunk], part []byte, patience time.Duration) error {
	deadlines(ctx, 0, patience)
	if err := stream.Send(&pb.ManifestChunk{Data: part}); err != nil {
		return broken(err)
	}
	return nil
}

// manifestHead reads what a share says of its file: all but the pieces. size is
// the bytes of the whole.
func (s *Server) manifestHead(ctx context.Context, u protocol.UserID, id protocol.FileID) (head *protocol.Manifest, size int64, err error) {
	done, err := s.haveManifest(ctx, u, id, func(whole []byte, _ time.Time) (err error) {
		size = int64(len(whole))
		head, err = protocol.DecodeManifestHead(whole[:min(len(whole), protocol.ManifestChunk)], size)
		return err
	})
	if done || err != nil {
		return head, size, err
	}
	begin, size, err := s.manifestPart(id, 0)
	if err != nil {
		return nil, 0, err
	}
	head, err = protocol.DecodeManifestHead(begin, size)
	return head, size, err
}

// shown remembers which users have shown this tracker the manifest of a file:
// those may share it in any of their groups. Where it is forgotten, the client is
// told that there is no such file and shows it again.
type shown struct {
	mu    sync.Mutex
	files *simplelru.LRU[shownFile, struct{}]
}

type shownFile struct {
	user protocol.UserID
	file protocol.FileID
}

func newShown() *shown {
	files, _ := simplelru.NewLRU[shownFile, struct{}](memory, nil) // fails for no positive size
	return &shown{files: files}
}

func (s *shown) add(u protocol.UserID, f protocol.FileID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files.Add(shownFile{u, f}, struct{}{})
}

func (s *shown) has(u protocol.UserID, f protocol.FileID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files.Contains(shownFile{u, f})
}

// broken marks an error of a stream as the remote's going away.
func broken(err error) error {
	return errors.Join(err, context.Canceled)
}
