package rpc

import (
	"context"
	"slices"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
)

// eventTimeout is how long one event may take to leave; a client that does not
// read for that long is taken for gone.
const eventTimeout = 10 * time.Second

// Attach opens the client's lease, tells the present state of the user's
// groups, and then what changes.
func (s *Server) Attach(ctx context.Context, req *connect.Request[pb.AttachRequest], stream *connect.ServerStream[pb.Event]) error {
	c := callOf(ctx)
	addrs, err := clientAddrs(req.Msg.GetAddrs(), c.remote)
	if err != nil {
		return err
	}
	a, err := s.admit(c)
	if err != nil {
		return err
	}
	defer s.hub.remove(a)
	token := s.cfg.Presence.Open(presence.Lease{Peer: c.remote.text, User: c.user.ID, Session: c.session.ID, Addrs: addrs})
	defer s.cfg.Presence.Close(c.remote.text, token)
	// Connections of strangers may be given up for want of room, not this one.
	tag := "p2pshare/attached/" + strconv.FormatUint(token, 10)
	s.cfg.Host.ConnManager().Protect(c.remote.id, tag)
	defer s.cfg.Host.ConnManager().Unprotect(c.remote.id, tag)
	s.activity.write(Activity{What: "online", User: c.user.Name, Peer: c.remote.text, Result: "ok"})

	// send is false once the client is gone, which is no error.
	send := func(e *pb.Event) bool {
		deadlines(ctx, 0, eventTimeout)
		return stream.Send(e) == nil
	}
	state, err := s.presentOnDisk(ctx, a)
	if err != nil {
		return err
	}
	for _, e := range state {
		if !send(e) {
			return nil
		}
	}
	return s.follow(ctx, a, send)
}

// admit registers a stream, before its state is read: what changes in between
// comes behind it. The session is looked at once more, since what ends it is told
// to those who are registered.
func (s *Server) admit(c *call) (*attached, error) {
	a, err := s.hub.add(c)
	if err != nil {
		return nil, err
	}
	err = s.view(func(cat *catalog.Catalog) error {
		_, err := liveSession(cat, c.session)
		return err
	})
	if err != nil {
		s.hub.remove(a)
		return nil, err
	}
	return a, nil
}

// presentOnDisk is the state with which a stream begins, once all of it is on
// disk: no event would take back what is not. E_BUSY if the disk refused some.
func (s *Server) presentOnDisk(ctx context.Context, a *attached) ([]*pb.Event, error) {
	undone := s.replica.Undone()
	state, fresh := s.present(a)
	if err := s.replica.OnDisk(ctx, undone); err != nil {
		s.hub.push.forget(fresh)
		return nil, err
	}
	return state, nil
}

// present is the state as views show it, and the groups that nobody was told of
// before.
func (s *Server) present(a *attached) (state []*pb.Event, fresh []protocol.GroupID) {
	asOf := s.replica.Now() // before the look: what is newer may be told twice, never left out
	revoked := s.hub.recentlyRevoked()
	synced := &pb.Synced{Trackers: uint32(len(s.roster.Load().trackers))}
	var out []*pb.Event
	s.replica.View(func(cat *catalog.Catalog) {
		synced.User = nameOf(cat, a.user)
		groups := cat.GroupsOf(a.user)
		for _, g := range groups {
			out = append(out, groupState(cat, g, a.user, asOf))
			if s.hub.push.know(g) {
				fresh = append(fresh, g.ID)
			}
		}
		for id, u := range revoked {
			switch {
			case !anyHas(cat, groups, u):
			case len(synced.RevokedSessions) < protocol.MaxElements:
				synced.RevokedSessions = append(synced.RevokedSessions, id[:])
			default: // more than one message holds
				out = append(out, sessionRevoked(id, u))
			}
		}
	})
	return append(out,
		&pb.Event{Body: &pb.Event_Roster{Roster: &pb.Roster{Trackers: s.trackers()}}},
		&pb.Event{Body: &pb.Event_Synced{Synced: synced}}), fresh
}

func groupState(c *catalog.Catalog, g catalog.Group, u protocol.UserID, asOf protocol.Stamp) *pb.Event {
	state := &pb.GroupState{GroupId: g.ID[:], Name: g.Name, Role: roleOf(c, g, u), AsOf: stampPB(asOf)}
	for _, m := range c.Members(g.ID) {
		state.Members = append(state.Members, m.User[:])
	}
	return &pb.Event{Body: &pb.Event_GroupState{GroupState: state}}
}

// anyHas reports whether a user is a member of one of the groups.
func anyHas(c *catalog.Catalog, groups []catalog.Group, u protocol.UserID) bool {
	return slices.ContainsFunc(groups, func(g catalog.Group) bool { return c.IsMember(g.ID, u) })
}

// follow sends events until either side ends the stream.
func (s *Server) follow(ctx context.Context, a *attached, send func(*pb.Event) bool) error {
	tick := time.NewTicker(protocol.KeepAlive)
	defer tick.Stop()
	for {
		var event *pb.Event
		select {
		case event = <-a.events:
		case <-tick.C:
			if err := s.stillGood(a); err != nil {
				return err
			}
			event = &pb.Event{Body: &pb.Event_KeepAlive{KeepAlive: &pb.KeepAlive{Time: s.cfg.Now().UnixMilli()}}}
		case <-a.done:
			return s.flush(a, send)
		case <-ctx.Done():
			return nil
		}
		if !send(event) {
			return nil
		}
	}
}

// flush sends what was queued before the stream was ended.
func (s *Server) flush(a *attached, send func(*pb.Event) bool) error {
	for {
		select {
		case event := <-a.events:
			if !send(event) {
				return nil
			}
		default:
			return a.err
		}
	}
}

// stillGood looks at an open stream again: whether this tracker still serves,
// whether the session's time is over, and after a change of the password
// whether it is of the new one.
func (s *Server) stillGood(a *attached) error {
	if err := s.replica.Serving(); err != nil {
		return err // the client goes on at another tracker
	}
	now := s.cfg.Now()
	s.hub.mu.Lock()
	session := a.session
	due := !a.recheck.IsZero() && !now.Before(a.recheck)
	if due {
		a.recheck = time.Time{}
	}
	s.hub.mu.Unlock()
	if !inTime(session, now) {
		// It may have been renewed at another tracker.
		return again("the session of this stream has expired")
	}
	if !due {
		return nil
	}
	return s.view(func(cat *catalog.Catalog) error {
		if u, ok := cat.User(a.user); ok && u.Disabled || cat.Revoked(session.ID) {
			return notLoggedIn()
		}
		// The client may have the new session already and have shown it elsewhere
		// only; it finds out when it attaches with what it has.
		if _, err := liveSession(cat, session); err != nil {
			return again("the password was changed")
		}
		return nil
	})
}
