package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/gate"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// replaceOld ends shares of the user in the same group that the new one takes
// the place of: under the same name, or of what the same file was before.
func (a *account) replaceOld(ctx context.Context, rec records.Share) {
	for _, s := range a.allShares() {
		r := s.record()
		if r.Group != rec.Group || r.File == rec.File || r.Path != rec.Path && !sameFileName(r.Name, rec.Name) {
			continue
		}
		if _, err := a.stopShare(ctx, s); err != nil {
			log.Errorw("cannot end the share of older content", "file", r.File, "err", err)
		}
	}
}

func sameFileName(a, b string) bool {
	x, err1 := protocol.CanonicalFile(a)
	y, err2 := protocol.CanonicalFile(b)
	return a == b || errors.Join(err1, err2) == nil && x == y
}

// stopShare ends a share here, then at the trackers. While none is reachable,
// or wants to hear of it, that succeeds too: they are told later. E_NOT_FOUND
// for one that has been replaced.
func (a *account) stopShare(ctx context.Context, s *share) (Stored, error) {
	n, k := a.node, s.key
	err := a.record(func() error {
		if a.share(k) != s {
			return protocol.Errorf(protocol.CodeNotFound, "%s was shared again meanwhile, or is not shared any more", protocol.Quote(s.record().Name))
		}
		if err := n.records.StopShare(a.stopOf(k)); err != nil {
			return err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.shares, k)
		return nil
	})
	if err != nil {
		return Stored{}, err
	}
	a.stopServing(s)
	res, err := a.tellStop(ctx, k)
	switch {
	case err == nil:
		return n.stored(res.GetStored(), res.GetAlready()), nil
	case protocol.CodeOf(err).LaterHelps(), ctx.Err() != nil:
		log.Infow("trackers will be told later that a share ended", "file", k.file, "err", err)
		nudge(a.stopped)
		return Stored{}, nil //nolint:nilerr // it has ended, and trackers will hear of it
	default:
		return Stored{}, err
	}
}

// stopServing ends what is served of a share, and its offer, unless the file has
// just been shared again.
func (a *account) stopServing(s *share) {
	a.node.trackers.Withdraw(s.key.group, s.key.file)
	if now := a.share(s.key); now != nil && now != s && now.record().Withdrawn == "" {
		a.node.trackers.Offer(s.key.group, s.key.file, true)
	}
	a.closeStreams(s.key)
	s.closeIdle(true)
}

// withdraw ends shares for a reason that lies here, keeps them on the list with
// the reason, and tells the trackers, later if none is there. All of them are
// recorded at once: who loses a group may lose thousands.
func (a *account) withdraw(why string, all ...*share) {
	a.recordEnds(a.endShares(why, all))
}

// endShares is the part of withdraw that waits for nothing. It returns the
// shares that have ended by it.
func (a *account) endShares(why string, all []*share) (ended []*share) {
	var recs []records.Share
	for _, s := range all {
		if a.share(s.key) == s && s.withdraw(why) {
			a.stopServing(s)
			ended, recs = append(ended, s), append(recs, s.record())
		}
	}
	if len(recs) > 0 {
		a.node.tell(withdrawn(recs, why))
	}
	return ended
}

// recordEnds is the rest of withdraw, for shares that have not been shared
// again meanwhile.
func (a *account) recordEnds(ended []*share) {
	var recs []records.Share
	err := a.record(func() error {
		for _, s := range ended {
			if a.share(s.key) == s {
				recs = append(recs, s.record())
			}
		}
		if len(recs) == 0 {
			return nil
		}
		return a.node.records.WithdrawShares(recs...)
	})
	if len(recs) == 0 {
		return
	}
	if err != nil {
		log.Errorw("cannot record that shares ended", "file", recs[0].File, "count", len(recs), "err", err)
	}
	nudge(a.stopped)
}

// withdrawn tells of shares that ended for one reason.
func withdrawn(recs []records.Share, why string) Event {
	e := Event{Kind: "share_withdrawn", Group: protocol.Printable(recs[0].GroupNm), File: protocol.Printable(recs[0].Name)}
	what := e.File + " in " + e.Group + " is"
	if len(recs) > 1 {
		what, e.File = fmt.Sprintf("%d files in %s are", len(recs), e.Group), ""
	}
	e.Text = what + " not shared any more: " + protocol.Printable(why)
	return e
}

// refused looks at offers that the tracker did not take: of a share it may not
// have heard, because the answer to a call was lost or it has lost its memory.
func (a *account) refused(offers []*pb.Offer) {
	for _, o := range offers {
		group, err1 := protocol.IDFromBytes[protocol.GroupID](o.GetGroupId())
		file, err2 := protocol.IDFromBytes[protocol.FileID](o.GetFileId())
		if errors.Join(err1, err2) != nil {
			continue
		}
		k := fileKey{group, file}
		if s := a.share(k); o.GetComplete() && s != nil && s.record().Withdrawn == "" {
			a.spawn(func() { a.shareAgain(s) })
		}
		if d := a.download(k); !o.GetComplete() && d != nil && d.unfinished() {
			a.spawn(func() { a.offerAgain(d) })
		}
	}
}

// maxOfferTries bounds how often one push stream makes an offer be told again:
// the tracker that refused it may lack what another one knows, for a moment.
const maxOfferTries = 3

// offerAgain is for a part of a file that the tracker does not know.
func (a *account) offerAgain(d *Download) {
	wait, ok := d.tryAgain()
	if !ok {
		return
	}
	select {
	case <-time.After(wait):
		a.node.trackers.Reoffer(d.key.group, d.key.file)
	case <-a.ctx.Done():
	}
}

func (a *account) shareAgain(s *share) {
	s.mu.Lock()
	s.tries++
	tries := s.tries
	s.mu.Unlock()
	if tries > maxOfferTries {
		return
	}
	err := a.registerShare(a.ctx, s)
	switch protocol.CodeOf(err) {
	case "":
		select {
		case <-time.After(time.Duration(tries-1) * time.Second):
		case <-a.ctx.Done():
		}
		a.node.trackers.Reoffer(s.key.group, s.key.file)
	case protocol.CodeNotMember, protocol.CodeExists, protocol.CodeLimit:
		a.withdraw(err.Error(), s)
	default:
		log.Infow("cannot share again now", "file", s.key.file, "err", err)
	}
}

// registerShare makes the trackers know a share of the records.
func (a *account) registerShare(ctx context.Context, s *share) error {
	done, err := a.exchange(ctx)
	if err != nil {
		return err
	}
	defer done()
	r := s.record()
	if r.Withdrawn != "" || a.share(s.key) != s {
		return nil // it ended meanwhile
	}
	encoded, err := a.node.records.Manifest(s.key.file)
	if err != nil {
		return err
	}
	_, err = a.tellShare(ctx, &pb.GroupRef{Name: a.groupName(r.Group, r.GroupNm), Id: r.Group[:]}, r.File, encoded)
	if err != nil {
		return err
	}
	return a.node.records.ToldStops(a.stopOf(s.key))
}

// Unshare stops to offer a file; the copy on disk stays. E_NOT_FOUND if the
// user shares no such file from this client.
func (n *Node) Unshare(ctx context.Context, group, name string) (Stored, error) {
	a, err := n.current()
	if err != nil {
		return Stored{}, err
	}
	stored, err := a.unshare(ctx, group, name)
	n.did(Event{Kind: "stop_share", Group: protocol.Printable(group), File: protocol.Printable(name), Text: outcome(err)})
	return stored, err
}

func (a *account) unshare(ctx context.Context, group, name string) (Stored, error) {
	for _, s := range a.allShares() {
		r := s.record()
		if strings.EqualFold(a.groupName(r.Group, r.GroupNm), group) && sameFileName(r.Name, name) {
			return a.stopShare(ctx, s)
		}
	}
	return Stored{}, protocol.Errorf(protocol.CodeNotFound, "you do not share %s in %s from this client", protocol.Quote(name), protocol.Quote(group))
}

// Shares lists the shares of the user on this client.
func (n *Node) Shares() ([]ShareInfo, error) {
	a, err := n.current()
	if err != nil {
		return nil, err
	}
	out := []ShareInfo{}
	for _, s := range a.allShares() {
		if s.record().Withdrawn == "" {
			if err := s.intact(); filestore.IsGone(err) {
				a.withdraw(err.Error(), s)
			}
		}
		r := s.record()
		info := ShareInfo{Group: protocol.Printable(a.groupName(r.Group, r.GroupNm)), Name: protocol.Printable(r.Name), Path: r.Path, State: "sharing"}
		if r.Withdrawn != "" {
			info.State, info.Reason = "stopped", protocol.Printable(r.Withdrawn)
		}
		out = append(out, info)
	}
	slices.SortFunc(out, func(x, y ShareInfo) int {
		return cmp.Or(cmp.Compare(x.Group, y.Group), cmp.Compare(x.Name, y.Name), cmp.Compare(x.Path, y.Path))
	})
	return out, nil
}

// closeStreams ends the streams on which a file of a group is served.
func (a *account) closeStreams(k fileKey) {
	a.node.server.CloseWhere(func(g gate.Grant, f protocol.FileID) bool { return g.Group == k.group && f == k.file })
}
