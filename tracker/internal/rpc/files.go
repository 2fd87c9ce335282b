package rpc

import (
	"context"
	"slices"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
)

// ShareFile says that the caller's client has the whole file and shares it in
// a group. Its manifest must be stored already, in the group or by this user at
// this tracker: whether others have the file is nothing to ask about.
func (s *Server) ShareFile(ctx context.Context, req *connect.Request[pb.ShareFileRequest]) (*connect.Response[pb.ShareFileResponse], error) {
	c := callOf(ctx)
	c.about(req.Msg.GetGroup().GetName(), "")
	id, err := protocol.IDFromBytes[protocol.FileID](req.Msg.GetFileId())
	if err != nil {
		return nil, err
	}
	known := false
	if err := s.view(func(cat *catalog.Catalog) error {
		g, err := memberGroup(cat, req.Msg.GetGroup(), c.user.ID)
		if err != nil {
			return err
		}
		if _, known = cat.File(g.ID, id); !known && !s.shown.has(c.user.ID, id) {
			return protocol.Errorf(protocol.CodeNotFound, "this tracker was not given the description of this file")
		}
		return nil
	}); err != nil {
		return nil, err
	}
	if !known {
		if err := s.replica.HoldManifest(ctx, id); err != nil {
			return nil, err
		}
	}
	manifest, size, err := s.manifestHead(ctx, c.user.ID, id)
	if err != nil {
		return nil, err
	}
	c.about(req.Msg.GetGroup().GetName(), manifest.Name)
	var g catalog.Group
	stored, already, err := s.propose(ctx, func(cat *catalog.Catalog) (drafts []catalog.Draft, err error) {
		if g, err = memberGroup(cat, req.Msg.GetGroup(), c.user.ID); err != nil {
			return nil, err
		}
		share := catalog.Share{Group: g.ID, File: id, User: c.user.ID, Peer: c.remote.text}
		return shareDrafts(cat, share, manifest, size)
	})
	if err != nil {
		return nil, err
	}
	name := manifest.Name
	s.replica.View(func(cat *catalog.Catalog) {
		if f, ok := cat.File(g.ID, id); ok {
			name = f.Name
		}
	})
	return connect.NewResponse(&pb.ShareFileResponse{Stored: stored, Already: already, Name: name, GroupId: g.ID[:]}), nil
}

// shareDrafts checks limits and names of a share and drafts it.
func shareDrafts(c *catalog.Catalog, share catalog.Share, m *protocol.Manifest, size int64) ([]catalog.Draft, error) {
	drafts := c.ShareFile(share, m, size)
	if len(drafts) == 0 {
		return nil, nil
	}
	if slices.ContainsFunc(catalog.NameClaims(drafts), c.ClaimHeld) {
		return nil, protocol.Errorf(protocol.CodeExists, "the name %s is taken in this group by another file", protocol.Quote(m.Name))
	}
	if !c.IsShared(share) && len(c.SharesOf(share.User)) >= protocol.MaxSharesPerUser {
		return nil, limitReached("shares of one user", protocol.MaxSharesPerUser)
	}
	if f, known := c.File(share.Group, share.File); !known {
		if c.ManifestBytesOf(share.User)+size > protocol.MaxManifestsPerUser {
			return nil, limitReached("bytes of descriptions of one user's files", protocol.MaxManifestsPerUser)
		}
		if c.FileCount(share.Group) >= protocol.MaxFilesPerGroup {
			return nil, limitReached("files in one group", protocol.MaxFilesPerGroup)
		}
	} else if f.Holder.IsZero() && c.FileCount(share.Group) >= protocol.MaxFilesPerGroup {
		return nil, limitReached("files in one group", protocol.MaxFilesPerGroup)
	}
	return drafts, nil
}

// StopShare ends a share of the caller's client.
func (s *Server) StopShare(ctx context.Context, req *connect.Request[pb.StopShareRequest]) (*connect.Response[pb.ChangeResponse], error) {
	c := callOf(ctx)
	gid, err := protocol.IDFromBytes[protocol.GroupID](req.Msg.GetGroupId())
	if err != nil {
		return nil, err
	}
	fid, err := protocol.IDFromBytes[protocol.FileID](req.Msg.GetFileId())
	if err != nil {
		return nil, err
	}
	stored, already, err := s.propose(ctx, func(cat *catalog.Catalog) ([]catalog.Draft, error) {
		if f, ok := cat.File(gid, fid); ok && cat.IsMember(gid, c.user.ID) {
			g, _ := cat.Group(gid)
			c.about(g.Name, f.Name)
		}
		return cat.StopShare(catalog.Share{Group: gid, File: fid, User: c.user.ID, Peer: c.remote.text}), nil
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&pb.ChangeResponse{Stored: stored, Already: already}), nil
}

// ListFiles lists the files of a group; for members.
func (s *Server) ListFiles(ctx context.Context, req *connect.Request[pb.ListFilesRequest]) (*connect.Response[pb.ListFilesResponse], error) {
	c := callOf(ctx)
	c.about(req.Msg.GetGroup().GetName(), "")
	c.firstPageOnly(req.Msg.GetCursor())
	reply := &pb.ListFilesResponse{}
	err := s.view(func(cat *catalog.Catalog) error {
		g, err := memberGroup(cat, req.Msg.GetGroup(), c.user.ID)
		if err != nil {
			return err
		}
		reply.GroupId = g.ID[:]
		for f := range cat.Files(g.ID, req.Msg.GetCursor()) {
			if len(reply.Files) == protocol.PageSize {
				reply.Next = reply.Files[protocol.PageSize-1].GetName()
				break
			}
			reply.Files = append(reply.Files, fileEntry(cat, f))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, f := range reply.GetFiles() {
		s.countSeeders(reply.GetGroupId(), f)
	}
	return connect.NewResponse(reply), nil
}

// FindFile resolves a name in a group; for members.
func (s *Server) FindFile(ctx context.Context, req *connect.Request[pb.FindFileRequest]) (*connect.Response[pb.FindFileResponse], error) {
	c := callOf(ctx)
	c.about(req.Msg.GetGroup().GetName(), req.Msg.GetName())
	reply := &pb.FindFileResponse{}
	err := s.view(func(cat *catalog.Catalog) error {
		g, err := memberGroup(cat, req.Msg.GetGroup(), c.user.ID)
		if err != nil {
			return err
		}
		f, ok := cat.FileNamed(g.ID, req.Msg.GetName())
		if !ok {
			return protocol.Errorf(protocol.CodeNotFound, "there is no file %s in %s", protocol.Quote(req.Msg.GetName()), protocol.Quote(g.Name))
		}
		reply.GroupId, reply.Group, reply.File = g.ID[:], g.Name, fileEntry(cat, f)
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.countSeeders(reply.GetGroupId(), reply.GetFile())
	return connect.NewResponse(reply), nil
}

func fileEntry(c *catalog.Catalog, f catalog.File) *pb.FileEntry {
	return &pb.FileEntry{Id: f.ID[:], Name: f.Name, Size: f.Size, Sha1: f.SHA1[:], Uploader: nameOf(c, f.Holder)}
}

// countSeeders asks the presence table outside the catalog's lock.
func (s *Server) countSeeders(group []byte, f *pb.FileEntry) {
	ref := presence.FileRef{Group: protocol.GroupID(group), File: protocol.FileID(f.GetId())}
	f.Seeders = uint32(s.cfg.Presence.Complete(ref))
}

// memberFile finds group and file of a request for members.
func memberFile(c *catalog.Catalog, req *pb.FileRequest, u protocol.UserID) (catalog.Group, catalog.File, error) {
	g, err := memberGroupByID(c, req.GetGroupId(), u)
	if err != nil {
		return g, catalog.File{}, err
	}
	id, err := protocol.IDFromBytes[protocol.FileID](req.GetFileId())
	if err != nil {
		return g, catalog.File{}, err
	}
	f, ok := c.File(g.ID, id)
	if !ok {
		return g, f, protocol.Errorf(protocol.CodeNotFound, "there is no such file in %s", protocol.Quote(g.Name))
	}
	return g, f, nil
}
