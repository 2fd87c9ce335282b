package rpc

import (
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
)

// trackerList is the network's trackers at one time, and the sessions that were
// found to be signed by one of them. It is replaced, never changed.
type trackerList struct {
	trackers []peer.AddrInfo
	trusted  map[peer.ID]bool
	sessions *sessionCache
}

func (s *Server) newTrackerList(trackers []peer.AddrInfo) *trackerList {
	l := &trackerList{
		trackers: slices.Clone(trackers), trusted: map[peer.ID]bool{s.self: true},
		sessions: newSessionCache(4 * max(s.cfg.MaxClients, 1)),
	}
	for _, t := range trackers {
		l.trusted[t.ID] = true
	}
	return l
}

// SetRoster replaces the list, this tracker included, and tells the clients.
// The signature of a tracker that has left it counts no more: all clients
// attach again, so that each shows what it has.
func (s *Server) SetRoster(trackers []peer.AddrInfo) {
	next := s.newTrackerList(trackers)
	before := s.roster.Swap(next)
	s.guard.SetTrackers(len(trackers))
	s.cfg.Limits.SetTrackers(len(trackers))
	s.hub.tell(news{roster: true})
	if slices.ContainsFunc(before.trackers, func(t peer.AddrInfo) bool { return !next.trusted[t.ID] }) {
		for _, a := range s.hub.all() {
			a.end(again("a tracker has left the list"))
		}
	}
}
