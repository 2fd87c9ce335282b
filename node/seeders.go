package node

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"connectrpc.com/connect"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/node/internal/swarm"
	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

const (
	// findPace is the least time between two questions for seeders of one
	// file: trackers push what changes, so questions are few.
	findPace = 3 * time.Second
	// ticketPace is how often an open download looks whether its ticket is
	// past half of its life.
	ticketPace = 30 * time.Second
	// addrTTL keeps the addresses of members for as long as a download may
	// have to do without a tracker.
	addrTTL = protocol.TicketGrace
)

// findPeers asks for more peers. It never blocks.
func (d *Download) findPeers() { nudge(d.find) }

// feed brings peers and fresh tickets to a swarm until the context ends.
func (d *Download) feed(ctx context.Context, s *swarm.Swarm) {
	tick := time.NewTicker(ticketPace)
	defer tick.Stop()
	var shown []byte // the last ticket that all streams were shown
	for {
		select {
		case <-d.find:
			d.askForPeers(ctx, s)
			select {
			case <-time.After(findPace):
			case <-ctx.Done():
			}
		case <-tick.C:
			// A fresh one comes when the old one is past half of its life.
			t, err := d.account.ticket(ctx, d.key.group)
			if err == nil && !bytes.Equal(t.envelope, shown) {
				shown = t.envelope
				s.Renew(shown)
			}
		case <-ctx.Done():
			return
		}
	}
}

// askForPeers asks a tracker who offers the file.
func (d *Download) askForPeers(ctx context.Context, s *swarm.Swarm) {
	res, err := trackers.Call(ctx, d.account.node.trackers, rpc.ListSeeders, &pb.FileRequest{GroupId: d.key.group[:], FileId: d.key.file[:]})
	switch {
	case ctx.Err() != nil:
	case err == nil:
		defer d.change(func() { d.asked = true })
		for _, seeder := range res.GetSeeders() {
			d.addPeer(s, seeder)
		}
	case protocol.CodeOf(err) == protocol.CodeNotMember && !d.account.isMember(d.key.group):
		d.revoke(protocol.Errorf(protocol.CodeRevoked, "you are no longer a member of %s; the download stopped, partial data is kept", protocol.Quote(d.record().GroupNm)))
	default:
		log.Infow("cannot ask who has a file", "file", d.key.file, "err", err)
	}
}

// seeder takes news of one member that offers the file, or does not any more.
func (d *Download) seeder(m *pb.Seeder, gone bool) {
	d.mu.Lock()
	s := d.swarm
	d.mu.Unlock()
	if id, err := peer.Decode(m.GetPeerId()); err == nil && gone {
		d.without(id)
	}
	if s == nil {
		return
	}
	if !gone {
		d.addPeer(s, m)
		// Somebody who refused this client may have heard of its membership by
		// now; where others serve it, that can wait for the next ticket.
		if s.Progress().Peers == 0 {
			if t := d.account.heldTicket(d.key.group); t != nil {
				s.Renew(t)
			}
		}
		return
	}
	if id, err := peer.Decode(m.GetPeerId()); err == nil {
		s.RemovePeer(id)
	}
}

func (d *Download) addPeer(s *swarm.Swarm, m *pb.Seeder) {
	h := d.account.node.host
	id, err := peer.Decode(m.GetPeerId())
	if err != nil || id == h.ID() {
		return
	}
	var addrs []ma.Multiaddr
	for _, text := range m.GetAddrs()[:min(len(m.GetAddrs()), protocol.MaxAddrs)] {
		if a, err := ma.NewMultiaddr(text); err == nil {
			addrs = append(addrs, a)
		}
	}
	if h.Network().Connectedness(id) != network.Connected {
		h.Peerstore().ClearAddrs(id) // a member that was restarted is elsewhere now
	}
	h.Peerstore().AddAddrs(id, addrs, addrTTL)
	p := swarm.Peer{ID: id, User: m.GetUser()}
	d.remember(p)
	s.AddPeer(p)
}

// maxKnown bounds the members that a download remembers, as a swarm does.
const maxKnown = 500

// remember keeps a member for the next swarm of the download, which would else
// have nobody while no tracker is there.
func (d *Download) remember(p swarm.Peer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.known[p.ID]; known || len(d.known) < maxKnown {
		d.known[p.ID] = p
	}
}

// without is for a member that does not offer the file any more.
func (d *Download) without(id peer.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.known, id)
}

// remembered are the members of earlier swarms.
func (d *Download) remembered() []swarm.Peer {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.known))
}

// manifestAhead is how much of a description may be on its way before anything
// more of it comes: the least window of a stream.
const manifestAhead = 256 << 10

// getManifest reads the description of a file from one tracker.
func getManifest(ctx context.Context, service rpc, k fileKey, moved func(bytes, between int)) ([]byte, error) {
	stream, err := service.GetManifest(ctx, connect.NewRequest(&pb.FileRequest{GroupId: k.group[:], FileId: k.file[:]}))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	var encoded []byte
	received := 0 // an empty part counts for a byte, so that none can come for ever
	for stream.Receive() {
		moved(len(stream.Msg().GetData()), manifestAhead)
		encoded = append(encoded, stream.Msg().GetData()...)
		if received += max(len(stream.Msg().GetData()), 1); received > protocol.MaxManifest {
			return nil, protocol.Errorf(protocol.CodeLimit, "limit reached: the description of a file may have %d bytes", protocol.MaxManifest)
		}
	}
	return encoded, stream.Err()
}
