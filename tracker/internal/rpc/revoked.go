package rpc

import (
	"maps"
	"strings"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// ticketMemory is how long after its end a session may still stand in a
// ticket that some seeder accepts.
const ticketMemory = protocol.TicketLife + 2*protocol.CredentialSkew

// pruneEvery is after how many sessions that ended the memory of them is
// looked through for those that matter no more.
const pruneEvery = 4_096

// revocation is the end of a session.
type revocation struct {
	user protocol.UserID
	at   int64 // when this tracker learned of it, Unix milliseconds
}

// loadRevoked finds the sessions that ended of late and may stand in tickets.
func (h *hub) loadRevoked() {
	since := h.s.cfg.Now().Add(-ticketMemory).UnixMilli()
	var found []catalog.Fact
	h.s.replica.View(func(c *catalog.Catalog) {
		for f := range c.FactsUnder("") {
			if f.Stamp.Wall > since && strings.HasPrefix(string(f.Key), "revoked/") {
				found = append(found, f)
			}
		}
	})
	for _, f := range found {
		if m, err := catalog.Parse(f); err == nil {
			h.rememberRevoked(m, f.Stamp.Wall)
		}
	}
}

// learned is when a session ended as far as its tickets go. This tracker gave
// tickets until the news came, which may be long after the act where the
// trackers were apart; while it does not serve it gives none.
func (h *hub) learned(s protocol.Stamp) int64 {
	select {
	case <-h.s.replica.Ready():
		return max(s.Wall, h.s.cfg.Now().UnixMilli())
	default:
		return s.Wall
	}
}

func (h *hub) rememberRevoked(m catalog.Meaning, at int64) {
	since := h.s.cfg.Now().Add(-ticketMemory).UnixMilli()
	if at < since {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.revoked[m.Session] = revocation{user: m.User, at: max(at, h.revoked[m.Session].at)}
	if len(h.revoked)%pruneEvery == 0 {
		maps.DeleteFunc(h.revoked, func(_ protocol.SessionID, r revocation) bool { return r.at < since })
	}
}

// recentlyRevoked returns the sessions of others that ended while a ticket
// naming them may live, and forgets older ones.
func (h *hub) recentlyRevoked() map[protocol.SessionID]protocol.UserID {
	since := h.s.cfg.Now().Add(-ticketMemory).UnixMilli()
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make(map[protocol.SessionID]protocol.UserID, len(h.revoked))
	for id, r := range h.revoked {
		if r.at < since {
			delete(h.revoked, id)
			continue
		}
		out[id] = r.user
	}
	return out
}
