package replica

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

// SpreadPresence sends a change of this tracker's leases to the others, as a
// hint. Others notice by the version if it is lost.
func (r *Replica) SpreadPresence(d *pb.PresenceDelta) {
	if checkLeases(d.GetLeases()) != nil {
		for _, l := range r.links.connected() {
			l.nudge()
		}
		return
	}
	r.gossip.send(&pb.Gossip{Presence: d})
}

// checkLeases bounds what hangs on one message.
func checkLeases(leases []*pb.Lease) error {
	counts := []int{len(leases)}
	for _, lease := range leases {
		counts = append(counts, len(lease.GetOffers()), len(lease.GetWithdrawn()), len(lease.GetAddrs()))
	}
	return wire.CheckElements(counts...)
}

// takeDelta applies a change of another tracker's leases; if one before it was
// missed, that one is fetched soon.
func (r *Replica) takeDelta(l *link, d *pb.PresenceDelta) {
	if r.cfg.Presence == nil || r.cfg.Presence.ApplyDelta(l.name, d) {
		return
	}
	l.setBehind(true)
	l.nudge()
}

func (l *link) setBehind(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.behind = yes
}

func (l *link) isBehind() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.behind
}

// lacksPresence reports whether a hello tells of other leases than are known here.
func (r *Replica) lacksPresence(l *link, h *pb.SyncHello) bool {
	if r.cfg.Presence == nil || h.GetPresenceEpoch() == 0 {
		return false
	}
	epoch, version := r.cfg.Presence.Known(l.name)
	return epoch != h.GetPresenceEpoch() || version < h.GetPresenceVersion()
}

// pullPresence fetches what was missed of another tracker's leases, or all of
// them, if its hello tells of others than are known here.
func (r *Replica) pullPresence(ctx context.Context, l *link, h *pb.SyncHello) error {
	behind := h.GetPresenceEpoch() != 0 && l.isBehind()
	if !behind && !r.lacksPresence(l, h) {
		return nil
	}
	l.setBehind(false)
	if err := r.askPresence(ctx, l); err != nil {
		l.setBehind(true)
		return err
	}
	return nil
}

// askPresence applies deltas as they come, and the whole list once it is here.
func (r *Replica) askPresence(ctx context.Context, l *link) error {
	epoch, since := r.cfg.Presence.Held(l.name)
	q := &pb.GetPresence{Epoch: epoch, Since: since}
	in := incoming{}
	err := r.call(ctx, l, &pb.SyncRequest{Body: &pb.SyncRequest_GetPresence{GetPresence: q}}, func(reply *pb.SyncReply) error {
		err := in.take(reply)
		if missed := reply.GetMissed(); missed != nil && err == nil {
			if !r.cfg.Presence.CatchUp(l.name, missed.GetEpoch(), missed.GetDeltas()) {
				return errReply
			}
		}
		if protocol.CodeOf(err) == protocol.CodeLimit {
			r.refuse(l.name, oversized, err)
		}
		return err
	})
	if err == nil && in.list != nil {
		r.cfg.Presence.Apply(l.name, in.list)
	}
	return err
}

// incoming is an answer about leases, within bounds.
type incoming struct {
	list           *pb.PresenceList // nil if it is deltas
	leases, offers int
}

func (in *incoming) take(reply *pb.SyncReply) error {
	switch body := reply.GetBody().(type) {
	case *pb.SyncReply_Missed:
		if err := wire.CheckElements(len(body.Missed.GetDeltas())); err != nil {
			return err
		}
		for _, d := range body.Missed.GetDeltas() {
			if err := in.count(d.GetLeases()); err != nil {
				return err
			}
		}
		return nil
	case *pb.SyncReply_Presence:
		if err := in.count(body.Presence.GetLeases()); err != nil {
			return err
		}
		if in.list == nil {
			in.list = &pb.PresenceList{}
		}
		in.list.Epoch, in.list.Version = body.Presence.GetEpoch(), body.Presence.GetVersion()
		for _, lease := range body.Presence.GetLeases() {
			in.list.Leases = appendLease(in.list.Leases, lease)
		}
		return nil
	default:
		return errReply
	}
}

func (in *incoming) count(leases []*pb.Lease) error {
	if err := checkLeases(leases); err != nil {
		return err
	}
	in.leases += len(leases)
	for _, l := range leases {
		in.offers += len(l.GetOffers()) + len(l.GetWithdrawn())
	}
	if in.leases > protocol.MaxLeases || in.offers > protocol.MaxOffers {
		return wire.ErrTooLong
	}
	return nil
}

// appendLease joins the parts of a lease whose offers did not fit in one.
func appendLease(leases []*pb.Lease, lease *pb.Lease) []*pb.Lease {
	if n := len(leases); n > 0 && leases[n-1].GetPeerId() == lease.GetPeerId() {
		leases[n-1].Offers = append(leases[n-1].Offers, lease.GetOffers()...)
		return leases
	}
	return append(leases, lease)
}

// answerPresence hands out what the caller has missed of this tracker's leases,
// or all of them.
func (r *Replica) answerPresence(q *pb.GetPresence, out *replies) error {
	if r.cfg.Presence == nil {
		return protocol.Errorf(protocol.CodeNotFound, "this tracker keeps no presence")
	}
	if missed, ok := r.cfg.Presence.Missed(q.GetEpoch(), q.GetSince()); ok {
		return answerMissed(q.GetEpoch(), missed, out)
	}
	return r.answerList(out)
}

// answerMissed sends deltas in as many frames as it takes, one at least.
func answerMissed(epoch uint64, missed []*pb.PresenceDelta, out *replies) error {
	frame, size := &pb.PresenceDeltas{Epoch: epoch}, 0
	for _, d := range missed {
		n := proto.Size(d) + 8
		if size > 0 && (size+n > frameBytes || len(frame.Deltas) == protocol.MaxElements) {
			if err := out.send(&pb.SyncReply{Body: &pb.SyncReply_Missed{Missed: frame}}); err != nil {
				return err
			}
			frame, size = &pb.PresenceDeltas{Epoch: epoch}, 0
		}
		frame.Deltas = append(frame.Deltas, d)
		size += n
	}
	return out.send(&pb.SyncReply{Body: &pb.SyncReply_Missed{Missed: frame}})
}

// answerList sends all leases in as many frames as it takes. A lease with many
// offers comes in parts, one behind another.
func (r *Replica) answerList(out *replies) error {
	local := r.cfg.Presence.Local()
	frame, size := &pb.PresenceList{Epoch: local.GetEpoch(), Version: local.GetVersion()}, 0
	for _, lease := range local.GetLeases() {
		for _, part := range splitLease(lease) {
			n := proto.Size(part) + 8
			if size > 0 && (size+n > frameBytes || len(frame.Leases) == protocol.MaxElements) {
				if err := out.send(&pb.SyncReply{Body: &pb.SyncReply_Presence{Presence: frame}}); err != nil {
					return err
				}
				frame, size = &pb.PresenceList{Epoch: local.GetEpoch(), Version: local.GetVersion()}, 0
			}
			frame.Leases = append(frame.Leases, part)
			size += n
		}
	}
	return out.send(&pb.SyncReply{Body: &pb.SyncReply_Presence{Presence: frame}})
}

func splitLease(lease *pb.Lease) []*pb.Lease {
	offers := lease.GetOffers()
	if len(offers) <= protocol.MaxElements {
		return []*pb.Lease{lease}
	}
	var parts []*pb.Lease
	for len(offers) > 0 {
		n := min(protocol.MaxElements, len(offers))
		parts = append(parts, &pb.Lease{
			PeerId: lease.GetPeerId(), UserId: lease.GetUserId(), SessionId: lease.GetSessionId(),
			Addrs: lease.GetAddrs(), Offers: offers[:n], Gone: lease.GetGone(), Version: lease.GetVersion(),
		})
		offers = offers[n:]
	}
	return parts
}
