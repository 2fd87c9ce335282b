package presence

import (
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

// maxSeen is of how many sessions that are not online the table remembers when
// they last were; the one not thought of for longest is forgotten first. It takes 3 MB.
const maxSeen = 20_000

// Sighting is what is known of a session's client.
type Sighting struct {
	Online bool
	Last   time.Time // the last sign of life; zero: none was seen
}

// Saw notes a sign of life of a session's client.
func (t *Table) Saw(id protocol.SessionID) {
	now := t.cfg.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen.Add(id, now)
}

// Sightings returns what is known of the sessions of a user, at whichever
// tracker their clients are or were.
func (t *Table) Sightings(u protocol.UserID, ids []protocol.SessionID) map[protocol.SessionID]Sighting {
	now := t.cfg.Now()
	out := make(map[protocol.SessionID]Sighting, len(ids))
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		last, _ := t.seen.Peek(id)
		out[id] = Sighting{Last: last}
	}
	for _, leases := range t.peers {
		for _, l := range leases {
			if _, asked := out[l.Session]; asked && l.User == u {
				out[l.Session] = Sighting{Online: true, Last: now}
			}
		}
	}
	return out
}
