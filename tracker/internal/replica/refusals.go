package replica

import (
	"errors"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/protocol/wire"
)

// Why something that came from another tracker was not taken in.
type reason string

const (
	malformedFact    reason = "malformed fact"
	malformedMessage reason = "malformed message"
	oversized        reason = "oversized"
	// replayed facts are those that lost long ago against what is held here; now
	// and then an honest tracker sends one, when two write at the same time.
	replayed reason = "replayed fact"
	stranger reason = "not of a tracker of the list"
)

// warnAgain is how long a reason is not logged again of one sender: what one
// bad tracker sends a thousand times is one line.
const warnAgain = time.Hour

// refusals counts what was refused, by sender and reason. Senders are the
// trackers of the list, and "" for all others, so it stays small. The zero
// value is ready.
type refusals struct {
	mu   sync.Mutex
	seen map[refusal]*refused
}

type refusal struct {
	from string
	why  reason
}

type refused struct {
	count  uint64
	logged time.Time
}

// add counts one, and reports whether it is the first of its kind for a while.
func (f *refusals) add(from string, why reason, now time.Time) (first bool, count uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen == nil {
		f.seen = map[refusal]*refused{}
	}
	k := refusal{from, why}
	r := f.seen[k]
	if r == nil {
		r = &refused{}
		f.seen[k] = r
	}
	r.count++
	first = r.logged.IsZero() || now.Sub(r.logged) > warnAgain
	if first {
		r.logged = now
	}
	return first, r.count
}

func (f *refusals) total() (n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.seen {
		n += r.count
	}
	return n
}

// refuse counts what a tracker sent and was not taken in, and logs it once.
func (r *Replica) refuse(from string, why reason, err error) {
	first, count := r.refused.add(from, why, time.Now())
	switch {
	case !first:
	case why == replayed:
		log.Infow("refused what a tracker sent", "tracker", from, "reason", string(why), "err", err, "count", count)
	default:
		log.Warnw("refused what a tracker sent", "tracker", from, "reason", string(why), "err", err, "count", count)
	}
}

// refuseError is refuse for the error with which a message was met, if it is
// the message's fault and not the connection's.
func (r *Replica) refuseError(from string, err error) {
	switch {
	case errors.Is(err, wire.ErrTooLong):
		r.refuse(from, oversized, err)
	case errors.Is(err, proto.Error), errors.Is(err, errReply):
		r.refuse(from, malformedMessage, err)
	}
}

// refuseRequest is refuse for a request that is answered by an error. Facts to
// be stored have been counted one by one.
func (r *Replica) refuseRequest(from string, req *pb.SyncRequest, err error) {
	switch code := protocol.CodeOf(err); {
	case code == protocol.CodeLimit:
		r.refuse(from, oversized, err)
	case code == protocol.CodeUsage && req.GetStoreFacts() == nil:
		r.refuse(from, malformedMessage, err)
	}
}

// Refused returns how many facts and messages of other trackers were not taken
// in because of what they are.
func (r *Replica) Refused() uint64 { return r.refused.total() }
