package rpc

import (
	"strconv"
	"sync"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
)

// Activity is one line of the activity log.
type Activity struct {
	Time   time.Time
	Warn   bool
	What   string // "login", "create_group", "tracker connected", ...
	User   string
	Peer   string
	Group  string
	Object string // file or other user
	Result string // "ok" or a code
	Detail string
}

// activityLog writes lines, at a bounded rate for callers that are not logged
// in: those are free to come, and the log is somebody's disk.
type activityLog struct {
	out    func(Activity)
	limits *auth.Limits

	mu      sync.Mutex
	dropped int // lines left out since the last one written of such a caller
}

func newActivityLog(out func(Activity), limits *auth.Limits) *activityLog {
	return &activityLog{out: out, limits: limits}
}

// add writes the line of a call that has ended.
func (l *activityLog) add(c *call, result string) {
	if c.rule.what == "" && c.note.What == "" {
		return
	}
	a := c.note
	a.Result = result
	a.Warn = protocol.Code(result) == protocol.CodeInternal
	if c.session == nil && !l.admit(c, &a) {
		return
	}
	l.write(a)
}

// admit says whether there is room for a line about a stranger.
func (l *activityLog) admit(c *call, a *Activity) bool {
	if a.Result == "ok" {
		return true // an account was made or a password was right, at their own limits
	}
	if l.limits.Allow(auth.LimitLogLines, c.remote.place()) != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.dropped++
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dropped > 0 {
		a.Detail = strconv.Itoa(l.dropped) + " lines like this left out before"
		l.dropped = 0
	}
	return true
}

func (l *activityLog) write(a Activity) {
	a.Time = time.Now()
	l.out(a)
}

// printable makes text of a client fit for one line of a log.
func printable(text string) string {
	const most = 200 // bytes, the longest valid file name
	if len(text) > most {
		text = text[:most]
	}
	return protocol.Printable(text)
}
