package rpc

import (
	"context"
	"slices"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// Hello tells anybody who this tracker is, and which others it knows: that is
// all that an outsider learns.
func (s *Server) Hello(_ context.Context, _ *connect.Request[pb.HelloRequest]) (*connect.Response[pb.HelloResponse], error) {
	reply := &pb.HelloResponse{
		Version: protocol.Version, Trackers: s.trackers(), Serving: true,
		MinPassword: uint32(s.cfg.MinPassword),
	}
	if network := s.replica.Network(); !network.IsZero() {
		reply.NetworkId = network[:]
	}
	if err := s.replica.Serving(); err != nil {
		reply.Serving, reply.Reason = false, err.Error()
	}
	return connect.NewResponse(reply), nil
}

// trackers is the list with who is connected, this one included.
func (s *Server) trackers() []*pb.TrackerInfo {
	connected, list := s.replica.Connected(), s.roster.Load().trackers
	out := make([]*pb.TrackerInfo, 0, len(list))
	for _, t := range list {
		info := &pb.TrackerInfo{PeerId: t.ID.String(), Connected: t.ID == s.self || slices.Contains(connected, t.ID)}
		for _, a := range t.Addrs {
			info.Addrs = append(info.Addrs, a.String())
		}
		out = append(out, info)
	}
	return out
}
