package tracker

import (
	"context"
	"time"

	libp2phost "github.com/libp2p/go-libp2p/core/host"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/tracker/internal/auth"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/rpc"
)

// Config says which tracker to run. Zero values mean the defaults named.
type Config struct {
	// Trackers is the network's list, Number (from 1) this tracker's entry.
	Trackers []roster.Entry
	Number   int
	// Dir is the data folder, with the tracker's key in it; it gets the catalog.
	Dir string
	// Listen is where to bind when it differs from the entry (IP:PORT or multiaddr).
	Listen string
	// NewNetwork lets a folder without a catalog begin the network of this id,
	// which all trackers that begin it together are given. Zero: that of MarkNew;
	// in a folder without a mark it waits until it has caught up with another
	// tracker.
	NewNetwork protocol.NetworkID
	// MaxClients sizes every other limit; default 1,000, at most 50,000.
	MaxClients int
	// RegistrationClosed refuses new accounts.
	RegistrationClosed bool
	// MinPassword is the fewest characters of a new password; default 8.
	MinPassword int
	// Limits replaces rates by name, see Limits.
	Limits map[string]string
	// Host is a libp2p host of one's own, with the identity of the entry; it
	// stays the caller's to close, and Listen and MaxClients do not touch it.
	// Nil: one that listens at the entry's address.
	Host libp2phost.Host
	// Announce tells the local network by multicast DNS where this tracker is,
	// as soon as it serves, for clients that look for one.
	Announce bool
	// Now replaces the wall clock, for tests; nil: time.Now.
	Now func() time.Time
	// Log gets one line for each thing a user did and each event of the system;
	// nil: none. It is called from many goroutines and must not block for long.
	Log func(Activity)
}

// Activity is one line of the activity log. All text is fit for a terminal.
type Activity struct {
	Time   time.Time
	Warn   bool   // for the operator's eyes
	Mended bool   // for them, too: what an earlier one warned of is over
	What   string // "login", "create_group", "tracker connected", ...
	User   string
	Peer   string
	Group  string
	Object string // file or other user
	Result string // "ok" or a code
	Detail string
}

// Status is what the console's status command shows.
type Status struct {
	Serving             bool
	Reason              string   // why not serving
	Trouble             string   // with the disk, and what to do; changes may be refused
	Connected, Trackers int      // both with this one
	Missing             []string // of the others, which is not connected, and what to do
	Behind              []string // of those connected, with which nothing was exchanged for how long
	Users, Groups       int
	Files               int
	Online              int // clients, at all trackers
}

// Limit is a rate that Config.Limits may replace.
type Limit struct{ Name, Default, Help string }

// Limits lists them.
func Limits() []Limit {
	var out []Limit
	for _, k := range auth.Known() {
		out = append(out, Limit(k))
	}
	return out
}

// Ready is closed once the tracker serves.
func (t *Tracker) Ready() <-chan struct{} { return t.ready }

// Done is closed once the tracker serves no more: it is being closed, or it has
// found its catalog damaged. Then Err tells so, and nothing is left but to Close it.
func (t *Tracker) Done() <-chan struct{} { return t.replica.Done() }

// Err returns why the tracker has ended by itself: E_STATE, with what is to be
// done. Nil while it serves and after Close.
func (t *Tracker) Err() error { return t.replica.Err() }

// Addr returns the full multiaddr at which it serves.
func (t *Tracker) Addr() string { return t.addr }

// Status returns a snapshot.
func (t *Tracker) Status() Status {
	list, others := t.roster(), t.replica.Others()
	s := Status{
		Reason: t.reason(), Trouble: t.trouble(t.replica.Disk()), Trackers: len(list), Connected: there(others),
		Missing: missing(list, others), Behind: behind(list, others, time.Now()), Online: t.presence.Online(),
	}
	s.Serving = s.Reason == ""
	if t.isIn(list) {
		s.Connected++
	}
	t.replica.View(func(c *catalog.Catalog) {
		n := c.Counts()
		s.Users, s.Groups, s.Files = n.Users, n.Groups, n.Files
	})
	return s
}

// ResetPassword sets a random password and returns it; the user's sessions
// end. Errors: E_NOT_FOUND, E_BUSY.
func (t *Tracker) ResetPassword(ctx context.Context, user string) (string, error) {
	return t.rpc.ResetPassword(ctx, user)
}

// SetDisabled disables a user's account and ends its sessions, or enables it
// again. Errors: E_NOT_FOUND, E_BUSY.
func (t *Tracker) SetDisabled(ctx context.Context, user string, disabled bool) error {
	return t.rpc.SetDisabled(ctx, user, disabled)
}

func (t *Tracker) note(a Activity) {
	if t.cfg.Log != nil {
		a.Time = time.Now()
		t.cfg.Log(a)
	}
}

// forward gives the service's lines to the caller's log.
func (t *Tracker) forward(a rpc.Activity) {
	if t.cfg.Log != nil {
		t.cfg.Log(Activity{
			Time: a.Time, Warn: a.Warn, What: a.What, User: a.User, Peer: a.Peer, Group: a.Group, Object: a.Object, Result: a.Result, Detail: a.Detail,
		})
	}
}
