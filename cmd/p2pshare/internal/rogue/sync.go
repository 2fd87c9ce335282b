package rogue

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

// Store has another tracker store facts, as a tracker of its list. It returns
// what that one answers.
func (p *Peer) Store(tracker peer.AddrInfo, id protocol.NetworkID, facts ...*pb.Fact) error {
	return p.Sync(tracker, &pb.SyncRequest{
		Hello: &pb.SyncHello{NetworkId: id[:], WallMs: time.Now().UnixMilli()},
		Body:  &pb.SyncRequest_StoreFacts{StoreFacts: &pb.StoreFacts{Facts: facts}},
	})
}

// Sync sends one request of a tracker and returns the failure that is answered.
func (p *Peer) Sync(tracker peer.AddrInfo, req *pb.SyncRequest) error {
	s, err := p.Stream(tracker, protocol.SyncProtocol)
	if err != nil {
		return err
	}
	defer func() { _ = s.Reset() }()
	if err := s.SetDeadline(time.Now().Add(Patience)); err != nil {
		return err
	}
	if err := wire.Write(s, req); err != nil {
		return err
	}
	var reply pb.SyncReply
	if err := wire.NewReader(s, protocol.MaxSync).Read(&reply); err != nil {
		return err
	}
	return wire.FromFailure(reply.GetFailure())
}

// GiveBlobs answers every tracker that asks for a manifest with that of find.
func (p *Peer) GiveBlobs(id protocol.NetworkID, find func(protocol.FileID) []byte) {
	p.Host.SetStreamHandler(protocol.SyncProtocol, func(s network.Stream) {
		defer func() { _ = s.Close() }()
		var req pb.SyncRequest
		if wire.NewReader(s, protocol.MaxSync).Read(&req) != nil {
			return
		}
		reply := &pb.SyncReply{Hello: &pb.SyncHello{NetworkId: id[:], WallMs: time.Now().UnixMilli()}}
		if ask := req.GetGetBlob(); ask != nil {
			data := find(protocol.FileID(ask.GetId()))
			reply.Body = &pb.SyncReply_Blob{Blob: &pb.Blob{Size: uint64(len(data)), Data: data}}
		}
		_ = wire.Write(s, reply)
	})
}

// Fact is what a tracker says of a key now.
func (p *Peer) Fact(key string, value []byte) *pb.Fact {
	return &pb.Fact{Key: key, Value: value, Stamp: &pb.Stamp{WallMs: time.Now().UnixMilli(), Origin: p.Host.ID().String()}}
}

// FileFacts are the facts of a file that a user shares: itself under name, the
// share, and the claim of its name. canonical is the name in the claim.
func (p *Peer) FileFacts(group protocol.GroupID, m *protocol.Manifest, name, canonical string, owner []byte) []*pb.Fact {
	id := m.ID()
	file := binary.AppendUvarint(nil, uint64(len(name)))
	file = append(file, name...)
	file = binary.AppendUvarint(file, uint64(m.Size))
	file = append(file, m.SHA1[:]...)
	file = binary.AppendUvarint(file, uint64(len(m.Encode())))
	file = append(file, owner...)
	uid := protocol.UserID(owner).String()
	return []*pb.Fact{
		p.Fact("file/"+group.String()+"/"+id.String(), file),
		p.Fact("share/"+group.String()+"/"+id.String()+"/"+uid+"/"+p.Host.ID().String(), []byte{1, 0}),
		p.Fact("filename/"+group.String()+"/"+canonical+"/"+uid, append([]byte{0}, id[:]...)),
	}
}

// Connect opens a connection.
func (p *Peer) Connect(to peer.AddrInfo) error {
	ctx, cancel := context.WithTimeout(p.T.Context(), Patience)
	defer cancel()
	return p.Host.Connect(ctx, to)
}
