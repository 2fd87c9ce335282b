package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

var errHasNone = errors.New("this tracker has none of these manifests")

// blobsFrom fetches manifests of another tracker and hands each to take. It
// returns those that could not be had, and why one could not. Small ones come many in one reply: with a
// call for each, 33,000 would take as long as so many round trips. One that has none of them, or lets a call
// run out of time, is asked no more: another one may have all.
func (r *Replica) blobsFrom(ctx context.Context, l *link, ids []protocol.FileID, take func(protocol.FileID, []byte)) (left []protocol.FileID, failed error) {
	wanted := map[protocol.FileID]bool{}
	for _, id := range ids {
		wanted[id] = true
	}
	var enough error
	for i, id := range ids {
		if !wanted[id] {
			continue // it came with another one
		}
		if enough = cmp.Or(enough, ctx.Err()); enough != nil {
			left, failed = append(left, id), enough
			continue
		}
		delete(wanted, id)
		b, more, err := r.blobFrom(ctx, l, id, stillWanted(ids[i+1:], wanted))
		switch {
		case err != nil:
			log.Debugw("fetch a missing manifest", "tracker", l.name, "file", id.String(), "err", err)
			left, failed = append(left, id), err
			if isTimeout(err) || errors.Is(err, errHasNone) {
				enough = err
			}
			continue
		case b == nil:
			left, failed = append(left, id), errNoBlob()
		default:
			take(id, b)
		}
		for _, b := range more {
			id, err := r.checkMore(l, b, wanted)
			if err != nil {
				log.Debugw("leave out a manifest", "tracker", l.name, "err", err)
				failed = err
				continue
			}
			delete(wanted, id)
			take(id, b)
		}
	}
	return left, failed
}

// stillWanted is what a request may ask for besides.
func stillWanted(ids []protocol.FileID, wanted map[protocol.FileID]bool) (more [][]byte) {
	for _, id := range ids {
		if wanted[id] && len(more) < protocol.MaxElements {
			more = append(more, id[:])
		}
	}
	return more
}

// checkMore finds out which of those wanted a manifest is.
func (r *Replica) checkMore(l *link, b []byte, wanted map[protocol.FileID]bool) (protocol.FileID, error) {
	id := protocol.ManifestID(b)
	if !wanted[id] {
		r.refuse(l.name, malformedMessage, errReply)
		return id, errReply
	}
	return id, r.checkBlob(l, id, b)
}

// blobFrom fetches a manifest of another tracker and checks that it is the one.
// Some of those whose ids are in with may come along, unchecked. out is nil if
// only such have come.
func (r *Replica) blobFrom(ctx context.Context, l *link, id protocol.FileID, with [][]byte) (out []byte, more [][]byte, err error) {
	for {
		var got *pb.Blob
		req := &pb.SyncRequest{Body: &pb.SyncRequest_GetBlob{GetBlob: &pb.GetBlob{Id: id[:], Offset: uint64(len(out)), More: with}}}
		if err := r.bulkCall(ctx, l, req, func(reply *pb.SyncReply) error { got = reply.GetBlob(); return nil }); err != nil {
			return nil, nil, err
		}
		size := got.GetSize()
		if got == nil || size > protocol.MaxManifest || uint64(len(out)+len(got.GetData())) > size || len(got.GetMore()) > len(with) {
			return nil, nil, errReply
		}
		if size == 0 && len(with) > 0 {
			if len(got.GetMore()) == 0 {
				return nil, nil, errHasNone
			}
			return nil, got.GetMore(), nil
		}
		out, more, with = append(out, got.GetData()...), append(more, got.GetMore()...), nil
		if uint64(len(out)) == size {
			break
		}
		if len(got.GetData()) == 0 {
			return nil, nil, errReply
		}
	}
	return out, more, r.checkBlob(l, id, out)
}

// checkBlob refuses a manifest that is another one than asked for, or none. What
// clients of other trackers put there was checked there as well as it is here.
func (r *Replica) checkBlob(l *link, id protocol.FileID, b []byte) error {
	if protocol.ManifestID(b) != id {
		r.refuse(l.name, malformedMessage, errReply)
		return protocol.Errorf(protocol.CodeBadManifest, "the tracker %s gave another manifest than the one asked for", l.name)
	}
	if err := protocol.CheckManifest(b); err != nil {
		r.refuse(l.name, malformedMessage, err)
		return fmt.Errorf("a manifest from the tracker %s: %w", l.name, err)
	}
	return nil
}

// answerBlob hands out a part of a manifest, and others in whole as long as all
// together are no longer than one part may be: over a slow line several such
// calls must end in time. One that is not here has size 0 where others are asked
// for, and no others beside it if none of them is here.
func (r *Replica) answerBlob(q *pb.GetBlob, out *replies) error {
	id, err := protocol.IDFromBytes[protocol.FileID](q.GetId())
	if err != nil {
		return err
	}
	if q.GetOffset() > protocol.MaxManifest {
		return protocol.Errorf(protocol.CodeUsage, "an offset behind the end")
	}
	if err := wire.CheckElements(len(q.GetMore())); err != nil {
		return err
	}
	data, size, ok, err := r.cfg.Store.BlobRange(id, int64(q.GetOffset()), protocol.BlobChunk)
	if err != nil {
		return err
	}
	more, longer, err := r.wholeBlobs(q.GetMore(), protocol.BlobChunk-len(data))
	if err != nil {
		return err
	}
	if !ok && len(more) == 0 && (longer || len(q.GetMore()) == 0) {
		return protocol.Errorf(protocol.CodeNotFound, "this tracker does not have the manifest")
	}
	return out.send(&pb.SyncReply{Body: &pb.SyncReply_Blob{Blob: &pb.Blob{Size: uint64(size), Data: data, More: more}}})
}

// wholeBlobs reads manifests until there is no room for the next one (longer). Those that are
// not here are left out.
func (r *Replica) wholeBlobs(ids [][]byte, room int) (out [][]byte, longer bool, err error) {
	for _, b := range ids {
		id, err := protocol.IDFromBytes[protocol.FileID](b)
		if err != nil {
			return nil, false, err
		}
		data, size, ok, err := r.cfg.Store.BlobRange(id, 0, room)
		if err != nil {
			return nil, false, err
		}
		if !ok {
			continue
		}
		if room -= int(size) + 8; room < 0 {
			return out, true, nil
		}
		out = append(out, data)
	}
	return out, false, nil
}
