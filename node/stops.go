package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// stopPace is the pause between two tries to tell trackers of ended shares.
const stopPace = 10 * time.Second

// stopBatch is how many ended shares are told with one record of it: who leaves
// a group may have shared thousands. New shares wait meanwhile.
const stopBatch = 64

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
	res, err := a.sayStop(ctx, k)
	if err != nil {
		return nil, err
	}
	return res, a.node.records.ToldStops(a.stopOf(k))
}

// sayStop is the call of tellStop. The caller has the right of exchange.
func (a *account) sayStop(ctx context.Context, k fileKey) (*pb.ChangeResponse, error) {
	if s := a.share(k); s != nil && s.record().Withdrawn == "" {
		return nil, nil // shared again: nothing to be said
	}
	res, err := trackers.Call(ctx, a.node.trackers, rpc.StopShare, &pb.StopShareRequest{GroupId: k.group[:], FileId: k.file[:]})
	switch protocol.CodeOf(err) {
	case "", protocol.CodeNotFound, protocol.CodeNotMember: // there is none any more
		return res, nil
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
	all := true
	for some := range slices.Chunk(stops, stopBatch) {
		if err := a.tellSome(some); err != nil {
			if a.ctx.Err() == nil {
				log.Infow("cannot tell that shares ended", "file", some[0].File, "count", len(stops), "err", err)
			}
			if a.ctx.Err() != nil || !trackers.OfOne(err) {
				return false
			}
			all = false
		}
	}
	return all
}

// tellSome is tellStop for several shares, with one record of them all.
func (a *account) tellSome(stops []records.Stop) error {
	done, err := a.exchange(a.ctx)
	if err != nil {
		return err
	}
	defer done()
	told, err := sayAll(stops, func(s records.Stop) error {
		_, err := a.sayStop(a.ctx, fileKey{s.Group, s.File})
		return err
	})
	return errors.Join(err, a.node.records.ToldStops(told...))
}

// sayAll says all stops, and returns those that were said. One that is refused
// for good must not keep the others waiting.
func sayAll(stops []records.Stop, say func(records.Stop) error) (told []records.Stop, fault error) {
	for _, s := range stops {
		err := say(s)
		switch {
		case err == nil:
			told = append(told, s)
		case !trackers.OfOne(err):
			return told, err
		case fault == nil:
			fault = err
		}
	}
	return told, fault
}
