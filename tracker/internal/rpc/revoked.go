package rpc

import (
	"strings"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// ticketMemory is how long after its end a session may still stand in a
// ticket that some seeder accepts.
const ticketMemory = protocol.TicketLife + 2*protocol.CredentialSkew

// revocation is the end of a session.
type revocation struct {
	user protocol.UserID
	at   int64 // Unix milliseconds
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
			h.rememberRevoked(m, f.Stamp)
		}
	}
}

func (h *hub) rememberRevoked(m catalog.Meaning, s protocol.Stamp) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.revoked[m.Session] = revocation{user: m.User, at: s.Wall}
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
