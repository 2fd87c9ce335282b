package node

import (
	"context"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// stopPace is the pause between two tries to tell trackers of ended shares.
const stopPace = 10 * time.Second

// exchange takes the right to tell trackers that a share begins or ends, which
// done gives back: of one file the last word that they hear must be the last
// that was said here.
func (a *account) exchange(ctx context.Context) (done func(), err error) {
	select {
	case a.exchanging <- struct{}{}:
		return func() { <-a.exchanging }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-a.ctx.Done():
		return nil, errLoggedOut
	}
}

// tellStop tells the trackers that a share has ended, unless the file is
// shared again, and forgets that they must hear of it.
func (a *account) tellStop(ctx context.Context, k fileKey) (*pb.ChangeResponse, error) {
	done, err := a.exchange(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	stop := a.stopOf(k)
	if s := a.share(k); s != nil && s.record().Withdrawn == "" {
		return nil, a.node.records.ToldStop(stop)
	}
	res, err := trackers.Call(ctx, a.node.trackers, rpc.StopShare, &pb.StopShareRequest{GroupId: k.group[:], FileId: k.file[:]})
	switch protocol.CodeOf(err) {
	case "", protocol.CodeNotFound, protocol.CodeNotMember: // there is none any more
		return res, a.node.records.ToldStop(stop)
	default:
		return nil, err
	}
}

func (a *account) stopOf(k fileKey) records.Stop {
	return records.Stop{User: a.user, Group: k.group, File: k.file}
}

// tellStops tells trackers of shares that have ended: when one ends, when a
// tracker is there again, and after failures until it works.
func (a *account) tellStops() {
	again := time.NewTimer(stopPace)
	defer again.Stop()
	for {
		select {
		case <-a.stopped:
		case <-again.C:
		case <-a.ctx.Done():
			return
		}
		if !a.tellAllStops() {
			again.Reset(stopPace)
		}
	}
}

// tellAllStops reports whether nothing is left to be told.
func (a *account) tellAllStops() bool {
	stops, err := a.node.records.Stops(a.user)
	if err != nil {
		log.Errorw("cannot read which shares have ended", "err", err)
		return false
	}
	for _, s := range stops {
		if _, err := a.tellStop(a.ctx, fileKey{s.Group, s.File}); err != nil {
			if a.ctx.Err() == nil {
				log.Infow("cannot tell that a share ended", "file", s.File, "err", err)
			}
			return false
		}
	}
	return true
}
