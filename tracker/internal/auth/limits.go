package auth

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"github.com/p2pshare/p2pshare/protocol"
)

// The names of the limits, as the operator may set them.
const (
	LimitRegistrations = "registrations"
	LimitLogins        = "logins"
	LimitLoginsTotal   = "logins-total"
	LimitSessions      = "sessions"
	LimitFailures      = "failures"
	LimitOps           = "ops"
	LimitAnnounces     = "announces"
	LimitCalls         = "calls"
	LimitManifests     = "manifest-bytes"
	LimitLogLines      = "log-lines"
)

// Limit describes one limit.
type Limit struct{ Name, Default, Help string }

// Known lists the limits.
func Known() []Limit {
	return []Limit{
		// A classroom of 100 behind one address registers and logs in within a minute.
		{LimitRegistrations, "10/min,120", "new accounts from one address (/32 of IPv4, /56 of IPv6); the rate behind the burst is shared by all trackers"},
		{LimitLogins, "60/min,240", "logins with a password from one address; the rate behind the burst is shared by all trackers"},
		{LimitLoginsTotal, "40/s,400", "logins with a password, all together"},
		// Each leaves two facts for a month, however soon it is ended again.
		{LimitSessions, "30/h,120", "logins of one user with the right password"},
		// 80 an hour over all trackers: an attacker learns less than 100 guesses an hour.
		{LimitFailures, "1/45s,5", "wrong passwords for one account, before it slows down; the time is multiplied by the number of trackers"},
		{LimitOps, "60/min,200", "changes by one user"},
		// A client that comes back with 10,000 shares announces them in 10 to 50 calls.
		{LimitAnnounces, "300/min,600", "announcements of what is offered, by one user"},
		{LimitCalls, "200/s,2000", "calls of any kind by one user"},
		{LimitManifests, "268435456/h,268435456", "bytes of descriptions of files stored by one user, each counted as 16 KiB at least"},
		{LimitLogLines, "10/min,20", "lines in the activity log about one client that is not logged in"},
	}
}

// tableSize bounds the keys remembered for one limit; the one not used for
// longest is forgotten first. 20,000 take about 4 MB.
const tableSize = 20_000

// Limits says whether something may be done once more. It is safe for concurrent use.
type Limits struct {
	now    func() time.Time
	rates  map[string]Rate // not changed after New
	tables map[string]*table
	// trackers is how many share the rates of what one address may do.
	trackers atomic.Int64
}

type table struct {
	mu   sync.Mutex
	byID *simplelru.LRU[string, *rate.Limiter]
}

// NewLimits returns the default limits with those of replace in their place.
// Errors: E_CONFIG for an unknown name or a malformed rate.
func NewLimits(replace map[string]string, now func() time.Time) (*Limits, error) {
	l := &Limits{now: now, rates: map[string]Rate{}, tables: map[string]*table{}}
	for _, k := range Known() {
		text := k.Default
		if r, ok := replace[k.Name]; ok {
			text = r
		}
		r, err := ParseRate(text)
		if err != nil {
			return nil, protocol.Errorf(protocol.CodeConfig, "limit %s: %w", k.Name, err)
		}
		l.rates[k.Name] = r
		l.tables[k.Name] = &table{byID: newLRU[*rate.Limiter](tableSize)}
	}
	for name := range replace {
		if _, ok := l.rates[name]; !ok {
			return nil, protocol.Errorf(protocol.CodeConfig, "there is no limit %s; there are: %s", protocol.Quote(name), names())
		}
	}
	l.trackers.Store(1)
	return l, nil
}

// SetTrackers tells how many trackers the network has. What one address may do
// is slowed down so that all of them together allow what one would; each has a
// burst of its own. An address that is being counted keeps its pace.
func (l *Limits) SetTrackers(n int) { l.trackers.Store(int64(max(n, 1))) }

// rate is how fast the keys of a limit refill at this tracker.
func (l *Limits) rate(name string) Rate {
	r := l.rates[name]
	if name == LimitLogins || name == LimitRegistrations {
		r.Per *= time.Duration(l.trackers.Load())
	}
	return r
}

func names() string {
	var all []string
	for _, k := range Known() {
		all = append(all, k.Name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// newLRU never fails: the size is positive.
func newLRU[V any](size int) *simplelru.LRU[string, V] {
	c, _ := simplelru.NewLRU[string, V](size, nil)
	return c
}

// Rate returns a limit's rate.
func (l *Limits) Rate(name string) Rate { return l.rates[name] }

// Allow counts one event of key against the limit called name. E_RATE with
// RetryAfter when there were too many.
func (l *Limits) Allow(name, key string) error { return l.AllowN(name, key, 1) }

// AllowN counts n events at once; more than the burst are never allowed.
func (l *Limits) AllowN(name, key string, n int) error {
	r := l.rate(name)
	if r.Off || n <= 0 {
		return nil
	}
	t, now := l.tables[name], l.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	lim, ok := t.byID.Get(key)
	if !ok {
		lim = r.limiter()
		t.byID.Add(key, lim)
	}
	if lim.AllowN(now, n) {
		return nil
	}
	missing := float64(n) - lim.TokensAt(now)
	return tooMany(time.Duration(missing / float64(lim.Limit()) * float64(time.Second)))
}

// GiveBack undoes one Allow of something that did not come about through no
// fault of key: a class that is told to come again must not use up its share
// by coming again.
func (l *Limits) GiveBack(name, key string) {
	if l.rates[name].Off {
		return
	}
	t, now := l.tables[name], l.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if lim, ok := t.byID.Get(key); ok && lim.TokensAt(now)+1 <= float64(lim.Burst()) {
		lim.AllowN(now, -1)
	}
}

func tooMany(wait time.Duration) error {
	wait = max(wait.Round(time.Second), time.Second)
	return &protocol.Error{
		Code: protocol.CodeRate, RetryAfter: wait,
		Msg: "too many attempts; try again in " + wait.String(),
	}
}
