package node

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// settleWait is how long Share waits until its tracker has heard that the file
// is there to be fetched. The share is stored before that.
const settleWait = 2 * time.Second

// manifestPart leaves room for the other fields of a message of
// protocol.MaxRequest bytes.
const manifestPart = protocol.ManifestChunk / 2

// File is a file of a group.
type File struct {
	Name     string
	Size     int64
	Seeders  int // members online with the whole file
	SHA1     protocol.SHA1
	ID       protocol.FileID
	Uploader string
}

// Shared is a file that Share offers.
type Shared struct {
	Group, Name, Path string
	Size              int64
	Pieces            int
	SHA1              protocol.SHA1
	ID                protocol.FileID
}

// ShareInfo is a share of the user on this client. State is sharing or stopped; then Reason says why.
type ShareInfo struct {
	Group, Name, Path, State string
	Reason                   string
}

// Share hashes a file where it lies and offers it in a group. progress may be
// nil; it is called from one goroutine. New content under a name that the user
// holds takes the old one's place. Errors: E_NOT_FOUND, E_NOT_REGULAR, E_NAME,
// E_NOT_MEMBER, E_EXISTS, E_LIMIT, E_SOURCE_CHANGED, ...
func (n *Node) Share(ctx context.Context, group, path string, progress func(done, total int64)) (Shared, Stored, error) {
	a, err := n.current()
	if err != nil {
		return Shared{}, Stored{}, err
	}
	out, stored, err := a.shareFile(ctx, group, path, progress)
	n.did(Event{Kind: "upload_file", Group: protocol.Printable(group), File: protocol.Printable(filepath.Base(path)), Text: outcome(err)})
	return out, stored, n.names.check(err, group, "")
}

func (a *account) shareFile(ctx context.Context, group, path string, progress func(done, total int64)) (Shared, Stored, error) {
	n := a.node
	path, err := filepath.Abs(path)
	if err != nil {
		return Shared{}, Stored{}, protocol.Errorf(protocol.CodeNotFound, "cannot tell where %s is: %w", protocol.Quote(path), err)
	}
	// Before hours of hashing: may the user share there at all?
	page, err := trackers.Call(ctx, n.trackers, rpc.ListFiles, &pb.ListFilesRequest{Group: n.names.group(group)})
	if err != nil {
		return Shared{}, Stored{}, err
	}
	gid, err := protocol.IDFromBytes[protocol.GroupID](page.GetGroupId())
	if err != nil {
		return Shared{}, Stored{}, protocol.Errorf(protocol.CodeInternal, "the tracker's answer names no group: %w", err)
	}
	n.names.sawGroup(group, page.GetGroupId())
	m, stamp, err := a.describe(ctx, path, progress)
	if err != nil {
		return Shared{}, Stored{}, err
	}
	encoded := m.Encode()
	id := protocol.ManifestID(encoded)
	rec := records.Share{
		User: a.user, Group: gid, GroupNm: a.groupName(gid, group), File: id, Path: path,
		Stamp: stamp, SHA1: m.SHA1, Size: m.Size, Since: n.cfg.now(),
	}
	res, err := a.beginShare(ctx, &pb.GroupRef{Name: group, Id: gid[:]}, &rec, encoded)
	if err != nil {
		return Shared{}, Stored{}, err
	}
	a.replaceOld(ctx, rec)
	waiting, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	if err := n.trackers.Settle(waiting); err != nil {
		log.Infow("the share is not announced yet", "file", id, "err", err)
	}
	return Shared{
		Group: protocol.Printable(rec.GroupNm), Name: protocol.Printable(rec.Name), Path: path, Size: m.Size, Pieces: len(m.Pieces), SHA1: m.SHA1, ID: id,
	}, n.stored(res.GetStored(), res.GetAlready()), nil
}

// beginShare makes a share known to the trackers, then here.
func (a *account) beginShare(ctx context.Context, g *pb.GroupRef, rec *records.Share, encoded []byte) (*pb.ShareFileResponse, error) {
	done, err := a.exchange(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	res, err := a.tellShare(ctx, g, rec.File, encoded)
	if err != nil {
		return nil, err
	}
	rec.Name = res.GetName()
	return res, a.keepShare(*rec, encoded)
}

// describe hashes a file, unless this client shares it already and it has not
// changed since.
func (a *account) describe(ctx context.Context, path string, progress func(done, total int64)) (*protocol.Manifest, filestore.Stamp, error) {
	for _, s := range a.allShares() {
		r := s.record()
		if r.Path != path || filepath.Base(path) != r.Name || s.intact() != nil {
			continue
		}
		if m, err := a.node.storedManifest(r.File); err == nil && m.Name == filepath.Base(path) {
			return m, r.Stamp, nil
		}
	}
	return filestore.Hash(ctx, path, progress)
}

// tellShare stores the manifest and the share at a tracker. A tracker that the
// manifest has not reached gets it once more.
func (a *account) tellShare(ctx context.Context, g *pb.GroupRef, id protocol.FileID, encoded []byte) (*pb.ShareFileResponse, error) {
	n := a.node
	req := &pb.ShareFileRequest{Group: g, FileId: id[:]}
	for try := 0; ; try++ {
		if err := n.putManifest(ctx, g.GetId(), id, encoded); err != nil {
			return nil, err
		}
		res, err := trackers.Call(ctx, n.trackers, rpc.ShareFile, req)
		if protocol.CodeOf(err) != protocol.CodeNotFound || try == 2 {
			return res, err
		}
	}
}

func (n *Node) putManifest(ctx context.Context, group []byte, id protocol.FileID, encoded []byte) error {
	return n.trackers.DoLong(ctx, func(ctx context.Context, service rpc, moved func(bytes, between int)) error {
		stream := service.PutManifest(ctx)
		msg := &pb.PutManifestRequest{GroupId: group, FileId: id[:]}
		sent := 0
		for part := range slices.Chunk(encoded, manifestPart) {
			msg.Data = part
			if stream.Send(msg) != nil {
				break // the answer says why
			}
			sent += len(part)
			moved(len(part), sent)
			msg = &pb.PutManifestRequest{}
		}
		_, err := stream.CloseAndReceive()
		return err
	})
}

// keepShare records a share, makes it one that is served, and announces it.
func (a *account) keepShare(rec records.Share, encoded []byte) error {
	n := a.node
	if err := n.records.PutManifest(rec.File, encoded); err != nil {
		return err
	}
	s, err := a.putShare(rec)
	if err != nil {
		return err
	}
	a.mu.Lock()
	ended := a.ended
	a.mu.Unlock()
	if !ended {
		n.trackers.Offer(s.key.group, s.key.file, true)
	}
	return n.records.ToldStops(a.stopOf(s.key))
}

// putShare records a share and serves it.
func (a *account) putShare(rec records.Share) (s *share, err error) {
	var old *share
	err = a.record(func() error {
		if err := a.node.records.PutShare(rec); err != nil {
			return err
		}
		s = newShare(a, rec)
		a.mu.Lock()
		defer a.mu.Unlock()
		old = a.shares[s.key]
		a.shares[s.key] = s
		return nil
	})
	if old != nil {
		old.closeIdle(true)
	}
	return s, err
}

// Files lists the files of a group.
func (n *Node) Files(ctx context.Context, group string) ([]File, error) {
	if _, err := n.current(); err != nil {
		return nil, err
	}
	files := []File{}
	err := pages(maxFilesListed, func(cursor string) (*pb.ListFilesResponse, int, error) {
		res, err := trackers.Call(ctx, n.trackers, rpc.ListFiles, &pb.ListFilesRequest{Group: n.names.group(group), Cursor: cursor})
		n.names.sawGroup(group, res.GetGroupId())
		for _, f := range res.GetFiles() {
			files = append(files, fileOf(f))
		}
		return res, len(res.GetFiles()), err
	})
	if err != nil {
		return nil, n.names.check(err, group, "")
	}
	return files, nil
}

func fileOf(f *pb.FileEntry) File {
	out := File{
		Name: protocol.Printable(f.GetName()), Size: f.GetSize(), Seeders: int(f.GetSeeders()), Uploader: protocol.Printable(f.GetUploader()),
	}
	out.ID, _ = protocol.IDFromBytes[protocol.FileID](f.GetId())
	copy(out.SHA1[:], f.GetSha1())
	return out
}
