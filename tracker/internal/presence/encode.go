package presence

import (
	"slices"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// maxText bounds peer IDs and addresses of other trackers' clients, in bytes.
const maxText = 512

// encode leaves out the offers. It copies what may be overwritten behind the
// lock; slices of a lease are not.
func (l *lease) encode() *pb.Lease {
	user, session := l.User, l.Session
	return &pb.Lease{PeerId: l.Peer, UserId: user[:], SessionId: session[:], Addrs: l.Addrs, Version: l.opening}
}

func encodeOffers(offers []Offer) []*pb.Offer {
	out := make([]*pb.Offer, len(offers))
	for i, o := range offers {
		out[i] = &pb.Offer{GroupId: o.Group[:], FileId: o.File[:], Complete: o.Complete}
	}
	return out
}

func decodeOffers(in []*pb.Offer) ([]Offer, bool) {
	out := make([]Offer, len(in))
	for i, o := range in {
		group, err1 := protocol.IDFromBytes[protocol.GroupID](o.GetGroupId())
		file, err2 := protocol.IDFromBytes[protocol.FileID](o.GetFileId())
		if err1 != nil || err2 != nil {
			return nil, false
		}
		out[i] = Offer{FileRef: FileRef{Group: group, File: file}, Complete: o.GetComplete()}
	}
	return out, true
}

// decode checks a lease that another tracker tells of.
func decode(in *pb.Lease) (Lease, bool) {
	user, err1 := protocol.IDFromBytes[protocol.UserID](in.GetUserId())
	session, err2 := protocol.IDFromBytes[protocol.SessionID](in.GetSessionId())
	if err1 != nil || err2 != nil || in.GetPeerId() == "" || len(in.GetPeerId()) > maxText ||
		len(in.GetAddrs()) > protocol.MaxAddrs || len(in.GetOffers()) > maxOffers {
		return Lease{}, false
	}
	for _, a := range in.GetAddrs() {
		if len(a) > maxText {
			return Lease{}, false
		}
	}
	offers, ok := decodeOffers(in.GetOffers())
	if !ok {
		return Lease{}, false
	}
	return Lease{
		Peer: in.GetPeerId(), User: user, Session: session,
		Addrs: slices.Clone(in.GetAddrs()), Offers: replaceOffers(nil, offers, nil, maxOffers),
	}, true
}
