package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	p2pproto "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

const (
	// callTimeout bounds a call that has no shorter cap of its own.
	callTimeout = 10 * time.Second
	// maxCalls is how many calls to one tracker are under way at a time; more wait.
	// It is below maxStreams, since the other side may still have a request on its
	// hands whose reply has ended here.
	maxCalls = 12
	// maxBulk is how many of those are for manifests, which may take long over a slow
	// line: reservations and confirmations, which must not, find a place.
	maxBulk = 8
	// maxFrames bounds the replies on one stream: 1,000 of half a megabyte.
	maxFrames = 1_000
)

var (
	errReply = errors.New("the reply does not fit the request")
	// errQueued is with the error of a call that has not begun: its end says
	// nothing of the other tracker.
	errQueued = errors.New("too many calls to this tracker are under way")
)

// call sends one request and hands each frame of the reply to each. It never
// dials. What the reply's hello tells is noted.
func (r *Replica) call(ctx context.Context, l *link, req *pb.SyncRequest, each func(*pb.SyncReply) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	select {
	case l.calls <- struct{}{}:
		defer func() { <-l.calls }()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errQueued, ctx.Err())
	}
	s, err := r.cfg.Host.NewStream(network.WithNoDial(ctx, "sync"), l.id, p2pproto.ID(protocol.SyncProtocol))
	if err != nil {
		return fmt.Errorf("open sync stream: %w", err)
	}
	err = r.converse(ctx, l, s, req, each)
	if err != nil {
		_ = s.Reset()
		r.refuseError(l.name, err)
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return err
	}
	l.setLate(false)
	return s.Close()
}

// bulkCall is call for what may take long.
func (r *Replica) bulkCall(ctx context.Context, l *link, req *pb.SyncRequest, each func(*pb.SyncReply) error) error {
	select {
	case l.bulk <- struct{}{}:
		defer func() { <-l.bulk }()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errQueued, ctx.Err())
	}
	return r.call(ctx, l, req, each)
}

func (r *Replica) converse(ctx context.Context, l *link, s network.Stream, req *pb.SyncRequest, each func(*pb.SyncReply) error) error {
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	if deadline, ok := ctx.Deadline(); ok {
		if err := s.SetDeadline(deadline); err != nil {
			return fmt.Errorf("sync stream: %w", err)
		}
	}
	req.Hello = r.hello()
	sent := time.Now()
	if err := wire.Write(s, req); err != nil {
		return fmt.Errorf("send sync request: %w", err)
	}
	if err := s.CloseWrite(); err != nil {
		return fmt.Errorf("send sync request: %w", err)
	}
	in := wire.NewReader(s, protocol.MaxSync)
	for n := 0; ; n++ {
		reply := new(pb.SyncReply)
		err := in.Read(reply)
		switch {
		case errors.Is(err, io.EOF) && n > 0:
			return nil
		case err != nil:
			return fmt.Errorf("read sync reply: %w", err)
		case n >= maxFrames:
			return fmt.Errorf("read sync reply: %w", wire.ErrTooLong)
		}
		if n == 0 {
			if err := r.heard(l, reply.GetHello(), time.Since(sent)/2); err != nil {
				return err
			}
		}
		if err := wire.FromFailure(reply.GetFailure()); err != nil {
			return err
		}
		if err := each(reply); err != nil {
			return err
		}
	}
}

// hello is this tracker's state, for the other side.
func (r *Replica) hello() *pb.SyncHello {
	h := &pb.SyncHello{WallMs: r.wall(), Leaving: r.dropped.Load()}
	if id := r.Network(); !id.IsZero() {
		h.NetworkId = id[:]
	}
	if r.cfg.Presence != nil {
		h.PresenceEpoch, h.PresenceVersion = r.cfg.Presence.Version()
	}
	root := r.storedRoot()
	h.Root = root[:]
	h.Missing = r.blobs.missingDigest() // behind the root: what it stands for is in there
	return h
}

// storedRoot is the digest of what is on disk here.
func (r *Replica) storedRoot() catalog.Digest {
	r.state.mu.RLock()
	defer r.state.mu.RUnlock()
	return r.state.root
}

// heard notes what a hello tells, which has been under way for delay: a tracker
// of this network that asks or answers is there. It is an error if the other
// side is of another network.
func (r *Replica) heard(l *link, h *pb.SyncHello, delay time.Duration) error {
	theirs, err := helloNetwork(h)
	if err != nil {
		return err
	}
	l.mu.Lock()
	ours := r.Network()
	l.answered, l.present, l.named, l.refusals = true, true, !theirs.IsZero(), 0
	l.refused = time.Time{}
	l.foreign = !theirs.IsZero() && !ours.IsZero() && theirs != ours
	foreign, left := l.foreign, h.GetLeaving() && !l.leaving
	l.leaving = h.GetLeaving()
	l.mu.Unlock()
	if left {
		r.proofs.doubt() // it may have been the one that has all
	}
	if foreign {
		r.lost(l)
		return protocol.Errorf(protocol.CodeConfig, "the tracker %s belongs to another network", l.name)
	}
	l.noteClock(time.UnixMilli(h.GetWallMs()).Add(delay), r.cfg.Now())
	if !theirs.IsZero() && theirs == ours {
		r.found(l)
	}
	return nil
}

// helloNetwork returns the network of a hello, zero while blank.
func helloNetwork(h *pb.SyncHello) (id protocol.NetworkID, err error) {
	if len(h.GetNetworkId()) == 0 {
		return id, nil
	}
	return protocol.IDFromBytes[protocol.NetworkID](h.GetNetworkId())
}
