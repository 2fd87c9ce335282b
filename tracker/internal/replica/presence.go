package replica

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

// maxLeases bounds the leases, and maxOffers all offers, that one tracker may
// tell of: what this one has to keep in memory for it.
const (
	maxLeases = 100_000
	maxOffers = 2_000_000
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
// missed, the whole list is fetched soon.
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

// pullPresence fetches another tracker's leases if its hello tells of others
// than are known here.
func (r *Replica) pullPresence(ctx context.Context, l *link, h *pb.SyncHello) error {
	behind := h.GetPresenceEpoch() != 0 && l.isBehind()
	if !behind && !r.lacksPresence(l, h) {
		return nil
	}
	l.setBehind(false)
	list, leases, offers := &pb.PresenceList{}, 0, 0
	err := r.call(ctx, l, &pb.SyncRequest{Body: &pb.SyncRequest_GetPresence{GetPresence: &pb.GetPresence{}}},
		func(reply *pb.SyncReply) error {
			part := reply.GetPresence()
			if part == nil {
				return errReply
			}
			if err := checkLeases(part.GetLeases()); err != nil {
				r.refuse(l.name, oversized, err)
				return err
			}
			list.Epoch, list.Version = part.GetEpoch(), part.GetVersion()
			for _, lease := range part.GetLeases() {
				leases++
				offers += len(lease.GetOffers())
				list.Leases = appendLease(list.Leases, lease)
			}
			if leases > maxLeases || offers > maxOffers {
				return wire.ErrTooLong
			}
			return nil
		})
	if err != nil {
		l.setBehind(true)
		return err
	}
	r.cfg.Presence.Apply(l.name, list)
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

// answerPresence hands out all leases of this tracker, in as many frames as it
// takes. A lease with many offers comes in parts, one behind another.
func (r *Replica) answerPresence(out *replies) error {
	if r.cfg.Presence == nil {
		return protocol.Errorf(protocol.CodeNotFound, "this tracker keeps no presence")
	}
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
