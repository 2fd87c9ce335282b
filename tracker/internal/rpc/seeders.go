package rpc

import (
	"context"

	"connectrpc.com/connect"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
)

// ListSeeders tells a member which other members online offer a file, and where.
func (s *Server) ListSeeders(ctx context.Context, req *connect.Request[pb.FileRequest]) (*connect.Response[pb.ListSeedersResponse], error) {
	c := callOf(ctx)
	var ref presence.FileRef
	err := s.view(func(cat *catalog.Catalog) error {
		g, f, err := memberFile(cat, req.Msg, c.user.ID)
		ref = presence.FileRef{Group: g.ID, File: f.ID}
		return err
	})
	if err != nil {
		return nil, err
	}
	found := s.cfg.Presence.Seeders(ref, protocol.MaxSeeders+1) // the caller may be among them
	reply := &pb.ListSeedersResponse{}
	s.replica.View(func(cat *catalog.Catalog) {
		for _, seeder := range found {
			// A lease may outlive a membership by the time that news takes.
			if seeder.Peer != c.remote.text && cat.IsMember(ref.Group, seeder.User) && len(reply.Seeders) < protocol.MaxSeeders {
				reply.Seeders = append(reply.Seeders, seederPB(cat, seeder, c.remote))
			}
		}
	})
	return connect.NewResponse(reply), nil
}

// seederPB is a seeder with the addresses that are of use to a remote.
func seederPB(c *catalog.Catalog, seeder presence.Seeder, to remote) *pb.Seeder {
	return &pb.Seeder{
		PeerId: seeder.Peer, Addrs: reachable(seeder.Addrs, to), Complete: seeder.Complete, User: nameOf(c, seeder.User),
	}
}

// reachable leaves out what is good only on the seeder's own machine or link,
// unless the remote sits on this machine, as in a demonstration.
func reachable(addrs []string, to remote) []string {
	if to.addr != nil && manet.IsIPLoopback(to.addr) {
		return addrs
	}
	var out []string
	for _, text := range addrs {
		a, err := ma.NewMultiaddr(text)
		if err == nil && !manet.IsIPLoopback(a) && !manet.IsIP6LinkLocal(a) {
			out = append(out, text)
		}
	}
	return out
}

// clientAddrs checks the addresses that a client gives for itself: at most
// protocol.MaxAddrs, each an IP with a transport, none for another peer.
func clientAddrs(texts []string, from remote) ([]string, error) {
	if len(texts) > protocol.MaxAddrs {
		return nil, limitReached("addresses of one client", protocol.MaxAddrs)
	}
	out := make([]string, 0, len(texts))
	for _, text := range texts {
		if len(text) > 256 {
			return nil, badAddr(text)
		}
		a, err := ma.NewMultiaddr(text)
		if err != nil {
			return nil, badAddr(text)
		}
		transport, id := peer.SplitAddr(a)
		if transport == nil || id != "" && id != from.id {
			return nil, badAddr(text)
		}
		if ip, err := manet.ToIP(transport); err != nil || ip.IsUnspecified() || ip.IsMulticast() || len(transport) < 2 {
			return nil, badAddr(text)
		}
		if _, err := transport.ValueForProtocol(ma.P_CIRCUIT); err == nil {
			return nil, badAddr(text) // by way of another peer
		}
		out = append(out, transport.String())
	}
	return out, nil
}

func badAddr(text string) error {
	return protocol.Errorf(protocol.CodeUsage, "the client's address %s is not one that members could dial", protocol.Quote(text))
}

// Announce changes what the caller's client offers. Complete files must be
// shared by it; parts of a file any member may offer while fetching the rest.
func (s *Server) Announce(ctx context.Context, req *connect.Request[pb.AnnounceRequest]) (*connect.Response[pb.AnnounceResponse], error) {
	c := callOf(ctx)
	if err := s.cfg.Limits.Allow(auth.LimitAnnounces, c.user.ID.String()); err != nil {
		return nil, err
	}
	if err := wire.CheckElements(len(req.Msg.GetOffer()), len(req.Msg.GetWithdraw())); err != nil {
		return nil, err
	}
	var addrs []string // nil: as before
	if len(req.Msg.GetAddrs()) > 0 {
		checked, err := clientAddrs(req.Msg.GetAddrs(), c.remote)
		if err != nil {
			return nil, err
		}
		addrs = checked
	}
	reply := &pb.AnnounceResponse{}
	var offers []presence.Offer
	s.replica.View(func(cat *catalog.Catalog) {
		for _, o := range req.Msg.GetOffer() {
			ref, ok := fileRef(o)
			if ok && mayOffer(cat, ref, o.GetComplete(), c) {
				offers = append(offers, presence.Offer{FileRef: ref, Complete: o.GetComplete()})
			} else {
				reply.Refused = append(reply.Refused, o)
			}
		}
	})
	var withdrawn []presence.FileRef
	for _, o := range req.Msg.GetWithdraw() {
		if ref, ok := fileRef(o); ok {
			withdrawn = append(withdrawn, ref)
		}
	}
	late, ok := s.offer(c, offers, withdrawn, addrs)
	if !ok {
		return nil, &protocol.Error{
			Code: protocol.CodeBusy, RetryAfter: protocol.KeepAlive,
			Msg: "this client has no open stream of events at this tracker",
		}
	}
	for _, ref := range late {
		reply.Refused = append(reply.Refused, &pb.Offer{GroupId: ref.Group[:], FileId: ref.File[:]})
	}
	return connect.NewResponse(reply), nil
}

// offer enters offers that were allowed a moment ago, and takes those back that
// are not any more: a removal or the end of a share drops what is offered by then.
// False if the client has no lease.
func (s *Server) offer(c *call, offers []presence.Offer, withdrawn []presence.FileRef, addrs []string) (late []presence.FileRef, ok bool) {
	if !s.cfg.Presence.Announce(c.remote.text, offers, withdrawn, addrs) {
		return nil, false
	}
	s.replica.View(func(cat *catalog.Catalog) {
		for _, o := range offers {
			if !mayOffer(cat, o.FileRef, o.Complete, c) {
				late = append(late, o.FileRef)
			}
		}
	})
	if len(late) > 0 {
		s.cfg.Presence.Announce(c.remote.text, nil, late, nil)
	}
	return late, true
}

func mayOffer(cat *catalog.Catalog, ref presence.FileRef, complete bool, c *call) bool {
	if complete {
		return cat.IsShared(catalog.Share{Group: ref.Group, File: ref.File, User: c.user.ID, Peer: c.remote.text})
	}
	_, known := cat.File(ref.Group, ref.File)
	return known && cat.IsMember(ref.Group, c.user.ID)
}

func fileRef(o *pb.Offer) (presence.FileRef, bool) {
	g, err1 := protocol.IDFromBytes[protocol.GroupID](o.GetGroupId())
	f, err2 := protocol.IDFromBytes[protocol.FileID](o.GetFileId())
	return presence.FileRef{Group: g, File: f}, err1 == nil && err2 == nil
}
