package catalog

import (
	"container/heap"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

// Times of expiry, in milliseconds.
const (
	// renewSlack is how long behind its end a session is still renewed, since
	// clocks of the two ends differ.
	renewSlack = int64(protocol.CredentialSkew / time.Millisecond)
	// dropDelay is how long an expired fact is still held, outside all digests.
	dropDelay = int64(24 * time.Hour / time.Millisecond)
)

// expiry is a time at which a fact may have to be looked at.
type expiry struct {
	at  int64 // Unix milliseconds
	key Key
}

type expiries []expiry

func (h expiries) Len() int           { return len(h) }
func (h expiries) Less(i, j int) bool { return h[i].at < h[j].at }
func (h expiries) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiries) Push(x any) {
	e, _ := x.(expiry)
	*h = append(*h, e)
}

func (h *expiries) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// never is the expiry of facts that have none.
const never = int64(1<<63 - 1)

// untilOf returns when the session that v is about can no longer be renewed.
func untilOf(v value) int64 {
	switch v := v.(type) {
	case sessionValue:
		return v.until
	case revokedValue:
		return v.until
	default:
		return never
	}
}

// isPast reports whether at + slack is not after now, without overflow.
func isPast(at, slack, now int64) bool { return at <= now-slack }

func (c *Catalog) isExpired(v value) bool { return isPast(untilOf(v), renewSlack, c.horizon) }

// schedule notes when the fact has to be looked at first.
func (c *Catalog) schedule(k Key, v value) {
	if until := untilOf(v); until < never-renewSlack-dropDelay {
		heap.Push(&c.expiry, expiry{at: until + renewSlack, key: k})
	}
}

// Expire drops sessions that could not be renewed any more at now (Unix
// milliseconds) for a day, and returns their keys. Those that cannot be renewed
// any more leave the digests and are not accepted from then on. The owner
// calls it as often as there are rounds of exchange. A now before that of an
// earlier call is ignored.
func (c *Catalog) Expire(nowMillis int64) []Key {
	if nowMillis <= c.horizon {
		return nil
	}
	c.horizon = nowMillis
	var dropped []Key
	for len(c.expiry) > 0 && c.expiry[0].at <= nowMillis {
		due, _ := heap.Pop(&c.expiry).(expiry)
		e := c.facts[due.key]
		if e == nil {
			continue
		}
		p, v, err := parse(e.fact)
		if err != nil || !c.isExpired(v) {
			continue // replaced by one with a later end, which is scheduled too
		}
		if !e.expired {
			e.expired = true
			c.tree.remove(e)
			c.noteEnd(v)
		}
		if isPast(untilOf(v), renewSlack+dropDelay, nowMillis) {
			delete(c.facts, due.key)
			c.dropSession(p)
			dropped = append(dropped, due.key)
			continue
		}
		heap.Push(&c.expiry, expiry{at: untilOf(v) + renewSlack + dropDelay, key: due.key})
	}
	return dropped
}

// Horizon is the latest time that Expire was told, 0 before it was told any: what
// ended renewSlack before is not accepted.
func (c *Catalog) Horizon() int64 { return c.horizon }

// noteEnd notes that v is expired: taken out of the digests, or not accepted.
func (c *Catalog) noteEnd(v value) { c.ended = max(c.ended, untilOf(v)+renewSlack) }

// SetBack has the catalog go by an earlier time than Expire was told. It reports
// false and does nothing if something has ended that has not ended by then.
func (c *Catalog) SetBack(nowMillis int64) bool {
	if nowMillis < c.ended {
		return false
	}
	c.horizon = min(c.horizon, nowMillis)
	return true
}

func (c *Catalog) dropSession(p parts) {
	if p.kind == KindRevoked {
		delete(c.revoked, p.session)
		return
	}
	delete(c.user(p.user).sessions, p.session)
}
