package trackers

import (
	"context"
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol"
)

// clock is what the headers of replies told: the highest stamp, and how far
// the wall clocks of the trackers are from ours.
type clock struct {
	mu      sync.Mutex
	stamp   protocol.Stamp
	offsets map[*tracker]offset
	correct time.Duration // see correction
	warned  bool
}

// offset is how far a tracker's clock was from ours when it was heard last.
type offset struct {
	by time.Duration
	at time.Time
}

// offsetLife is how long an offset counts beside newer ones: clocks are set
// right, and the trackers that one does not talk to would not tell.
const offsetLife = time.Minute

func (k *clock) highest() protocol.Stamp {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stamp
}

// correction is the median of the trackers' offsets if it is worth correcting,
// otherwise zero: small differences are within every check's tolerance.
func (k *clock) correction() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.correct
}

// median returns the median of the offsets that count at now, of which there is
// at least one. mu is held.
func (k *clock) median(now time.Time) time.Duration {
	maps.DeleteFunc(k.offsets, func(_ *tracker, off offset) bool { return now.Sub(off.at) > offsetLife })
	all := make([]time.Duration, 0, len(k.offsets))
	for _, off := range k.offsets {
		all = append(all, off.by)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// learn takes the headers of a reply that came at now. It returns the
// correction the first time that there is one.
func (k *clock) learn(t *tracker, h http.Header, now time.Time) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s, err := protocol.ParseStamp(h.Get(protocol.HeaderStamp)); err == nil && s.After(k.stamp) {
		k.stamp = s
	}
	ms, err := strconv.ParseInt(h.Get(protocol.HeaderTime), 10, 64)
	if err != nil {
		return 0
	}
	return k.compare(t, ms, now)
}

// alive takes the time of a sign of life, Unix milliseconds, as learn does:
// whoever only listens makes no call for hours.
func (k *clock) alive(t *tracker, ms int64, now time.Time) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if ms == 0 {
		return 0
	}
	return k.compare(t, ms, now)
}

// compare is called with mu held.
func (k *clock) compare(t *tracker, ms int64, now time.Time) time.Duration {
	if k.offsets == nil {
		k.offsets = map[*tracker]offset{}
	}
	k.offsets[t] = offset{by: time.UnixMilli(ms).Sub(now), at: now}
	k.correct = 0
	if off := k.median(now); off.Abs() > protocol.CredentialSkew {
		k.correct = off
	}
	if k.correct == 0 || k.warned {
		return 0
	}
	k.warned = true
	return k.correct
}

// headers adds session and stamp to each request to one tracker, and learns
// from each reply. It is a connect.Interceptor.
type headers struct {
	client  *Client
	tracker *tracker
}

func (h headers) ask(out http.Header) {
	if s := h.client.currentSession(); s != nil && out.Get(protocol.HeaderSession) == "" {
		out.Set(protocol.HeaderSession, encodeSession(s.envelope))
	}
	if stamp := h.client.clock.highest(); !stamp.IsZero() {
		out.Set(protocol.HeaderStamp, stamp.String())
	}
}

func (h headers) learn(in http.Header) {
	now := h.client.cfg.Now()
	h.client.skewed(h.client.clock.learn(h.tracker, in, now))
}

// skewed tells of a correction, unless it is zero.
func (c *Client) skewed(off time.Duration) {
	if off != 0 {
		c.post(Skewed{By: -off})
	}
}

func encodeSession(envelope []byte) string { return base64.StdEncoding.EncodeToString(envelope) }

func (h headers) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		h.ask(req.Header())
		res, err := next(ctx, req)
		if e, ok := asConnect(err); ok {
			h.learn(e.Meta())
		} else if err == nil {
			h.learn(res.Header())
		}
		return res, err
	}
}

func (h headers) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		h.ask(conn.RequestHeader())
		return &learningConn{StreamingClientConn: conn, headers: h}
	}
}

func (h headers) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// learningConn looks at the headers of a stream once they are there.
type learningConn struct {
	connect.StreamingClientConn
	headers headers
	once    sync.Once
}

func (c *learningConn) Receive(m any) error {
	err := c.StreamingClientConn.Receive(m)
	c.once.Do(func() { c.headers.learn(c.ResponseHeader()) })
	return err
}
