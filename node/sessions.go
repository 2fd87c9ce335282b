package node

import (
	"context"
	"encoding/hex"
	"strings"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// Session is a login of the user, on this client or another one.
type Session struct {
	ID string // 32 hex digits; RevokeSession takes it
	// Device is what the client called itself at the login. It proves nothing.
	Device string
	Since  time.Time
	// LastSeen is the last sign of life that the tracker knows of: now for a
	// client that is online, else exact or, after a restart of the trackers, up
	// to half a day old.
	LastSeen time.Time
	Online   bool
	This     bool // it is the session of this client
}

// Sessions lists where the user is logged in, the oldest login first. E_SESSION.
func (n *Node) Sessions(ctx context.Context) ([]Session, error) {
	if _, err := n.current(); err != nil {
		return nil, err
	}
	res, err := trackers.Call(ctx, n.trackers, rpc.ListSessions, &pb.ListSessionsRequest{})
	if err != nil {
		return nil, err
	}
	var out []Session
	for _, s := range res.GetSessions() {
		out = append(out, Session{
			ID: hex.EncodeToString(s.GetSessionId()), Device: s.GetDevice(),
			Since: time.UnixMilli(s.GetSinceMs()), LastSeen: time.UnixMilli(s.GetLastSeenMs()),
			Online: s.GetOnline(), This: s.GetThis(),
		})
	}
	return out, nil
}

// RevokeSession ends a session of the user, wherever its client is: that one is
// logged out, and seeders accept its tickets no more. The session of this
// client is ended as Logout does. E_NOT_FOUND for an id that is not of the user's.
func (n *Node) RevokeSession(ctx context.Context, id string) (Stored, error) {
	a, err := n.current()
	if err != nil {
		return Stored{}, err
	}
	b, err := hex.DecodeString(strings.ToLower(id))
	if err != nil {
		return Stored{}, protocol.Errorf(protocol.CodeNotFound, "%s is no id of a session; \"sessions\" lists yours", protocol.Quote(id))
	}
	session, err := protocol.IDFromBytes[protocol.SessionID](b)
	if err != nil {
		return Stored{}, protocol.Errorf(protocol.CodeNotFound, "%s is no id of a session; \"sessions\" lists yours", protocol.Quote(id))
	}
	if session == a.session {
		return n.Logout(ctx)
	}
	res, err := trackers.Call(ctx, n.trackers, rpc.RevokeSession, &pb.RevokeSessionRequest{SessionId: session[:]})
	n.did(Event{Kind: "revoke_session", User: protocol.Printable(a.shownName()), Text: outcome(err)})
	if err != nil {
		return Stored{}, err
	}
	return n.stored(res.GetStored(), res.GetAlready()), nil
}
