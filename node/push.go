package node

import (
	"errors"
	"fmt"
	"math"

	"github.com/dustin/go-humanize"

	"github.com/p2pshare/p2pshare/node/internal/trackers"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
)

// signal takes what the trackers' side tells, in order, from one goroutine. It
// waits for nothing but memory.
func (n *Node) signal(s trackers.Signal) {
	switch s := s.(type) {
	case trackers.Attached:
		n.online.Store(true)
		n.tell(Event{Kind: "tracker", Text: "connected to tracker " + s.Address})
		n.withAccount((*account).attached)
	case trackers.Detached:
		n.online.Store(false)
		n.gate.Lost(n.trackers.Now())
		if protocol.CodeOf(s.Err) == protocol.CodeLocked && !n.twin {
			n.twin = true
			n.tell(Event{Kind: "tracker", Text: "another client with the key of this one is online, so neither can stay connected: if the data folder was copied, end that client or give it a folder of its own"})
		}
	case trackers.Lost:
		n.gate.Lost(n.trackers.Now())
		n.tell(Event{Kind: "tracker_lost", Text: s.Err.Error()})
		n.withAccount((*account).refresh)
	case trackers.Pushed:
		n.withAccount(func(a *account) {
			if a.session == s.Session { // not what was on its way to the user before
				a.pushed(s.Event)
			}
		})
	case trackers.Refused:
		n.withAccount(func(a *account) { a.refused(s.Offers) })
	case trackers.LoggedOut:
		n.online.Store(false)
		n.loggedOut(s.Err)
	case trackers.Renewed:
		n.withAccount(func(a *account) {
			if a.session != s.Session {
				return
			}
			n.spawn(func() { n.renewed(a, s) })
		})
	case trackers.Skewed:
		n.tell(Event{Kind: "clock", Text: fmt.Sprintf("the clock of this machine is %.0f min off; using the trackers' time", math.Abs(s.By.Minutes()))})
	}
}

// renewed remembers a fresh session, unless a logout or that of a new password
// has come first.
func (n *Node) renewed(a *account, s trackers.Renewed) {
	_, finish, err := n.begin(n.ctx)
	if err != nil {
		return
	}
	defer finish()
	if now, err := n.current(); err != nil || now != a || !n.trackers.Uses(s.Envelope) {
		return
	}
	if err := n.keepSession(a, s.Envelope, s.Name); err != nil {
		log.Errorw("cannot keep the renewed session", "err", err)
	}
}

func (n *Node) withAccount(f func(*account)) {
	if a, err := n.current(); err == nil {
		f(a)
	}
}

// attached prepares for the GroupStates of a new push stream.
func (a *account) attached() {
	a.mu.Lock()
	clear(a.told)
	a.mu.Unlock()
	for _, s := range a.allShares() {
		s.again()
	}
	nudge(a.stopped)
	a.refresh()
	for _, d := range a.allDownloads() {
		d.again()
		d.findPeers() // the new tracker may know others
	}
}

// refresh lets readers of progress see whether a tracker is there.
func (a *account) refresh() {
	for _, d := range a.allDownloads() {
		d.changed()
	}
}

// pushed takes an event of the tracker.
func (a *account) pushed(e *pb.Event) {
	n := a.node
	switch body := e.GetBody().(type) {
	case *pb.Event_GroupState:
		a.groupState(body.GroupState)
	case *pb.Event_Synced:
		a.synced(body.Synced)
	case *pb.Event_Seeder:
		a.seederChanged(body.Seeder)
	case *pb.Event_Member:
		a.memberChanged(body.Member)
	case *pb.Event_SessionRevoked:
		if id, err := protocol.IDFromBytes[protocol.SessionID](body.SessionRevoked.GetSessionId()); err == nil {
			n.gate.Revoke(id, n.trackers.Now())
			n.closeDisallowed()
		}
	case *pb.Event_FileAdded:
		f := body.FileAdded
		if f.GetUploader() == a.shownName() {
			return
		}
		n.tell(Event{
			Kind: "new_file", Group: protocol.Printable(f.GetGroup()), User: protocol.Printable(f.GetUploader()), File: protocol.Printable(f.GetName()),
			Text: protocol.Printable(fmt.Sprintf("%s shares %s (%s) in %s", f.GetUploader(), f.GetName(), humanize.IBytes(uint64(max(f.GetSize(), 0))), f.GetGroup())),
		})
	case *pb.Event_JoinRequested:
		j := body.JoinRequested
		n.tell(Event{
			Kind: "join_request", Group: protocol.Printable(j.GetGroup()), User: protocol.Printable(j.GetUser()),
			Text: protocol.Printable(fmt.Sprintf("%s asks to join %s", j.GetUser(), j.GetGroup())),
		})
	case *pb.Event_Renamed:
		a.renamed(body.Renamed)
	}
}

func (a *account) groupState(g *pb.GroupState) {
	id, err := protocol.IDFromBytes[protocol.GroupID](g.GetGroupId())
	if err != nil || !a.knowGroup(id, g.GetName()) {
		return
	}
	members := make([]protocol.UserID, 0, len(g.GetMembers()))
	for _, b := range g.GetMembers() {
		if u, err := protocol.IDFromBytes[protocol.UserID](b); err == nil {
			members = append(members, u)
		}
	}
	a.mu.Lock()
	a.told[id] = true
	a.mu.Unlock()
	a.node.names.sawGroup(g.GetName(), g.GetGroupId())
	a.node.gate.SetMembers(id, stampOf(g.GetAsOf()), members)
	a.node.closeDisallowed()
}

// synced ends the GroupStates: other groups are not the user's any more.
func (a *account) synced(s *pb.Synced) {
	n := a.node
	if name := s.GetUser(); name != "" && name != a.shownName() {
		a.renamed(&pb.Renamed{Kind: "user", OldName: a.shownName(), NewName: name})
	}
	a.mu.Lock()
	var kept []protocol.GroupID
	lost := map[protocol.GroupID]string{}
	for id, name := range a.groups {
		if a.told[id] {
			kept = append(kept, id)
		} else {
			lost[id] = name
		}
	}
	// What the records name may have been lost while this client was away.
	for k, s := range a.shares {
		if r := s.record(); !a.told[k.group] && r.Withdrawn == "" {
			lost[k.group] = r.GroupNm
		}
	}
	for k, d := range a.downloads {
		if !a.told[k.group] && d.unfinished() {
			lost[k.group] = d.record().GroupNm
		}
	}
	a.mu.Unlock()
	var revoked []protocol.SessionID
	for _, b := range s.GetRevokedSessions() {
		if id, err := protocol.IDFromBytes[protocol.SessionID](b); err == nil {
			revoked = append(revoked, id)
		}
	}
	n.gate.Synced(kept, revoked, n.trackers.Now())
	n.closeDisallowed()
	a.mu.Lock()
	if !a.isKnown {
		a.isKnown = true
		close(a.known)
	}
	a.mu.Unlock()
	for id, name := range lost {
		a.lostGroup(id, name, ceasedToBeMember)
	}
}

func (a *account) seederChanged(c *pb.SeederChange) {
	group, err1 := protocol.IDFromBytes[protocol.GroupID](c.GetGroupId())
	file, err2 := protocol.IDFromBytes[protocol.FileID](c.GetFileId())
	if errors.Join(err1, err2) != nil {
		return
	}
	if d := a.download(fileKey{group, file}); d != nil {
		d.seeder(c.GetSeeder(), c.GetGone())
	}
}

// ceasedToBeMember is why shares ended, and stays true of them when the user is
// a member again.
const ceasedToBeMember = "you ceased to be a member of the group; once you are one again, upload_file shares it again"

func (a *account) memberChanged(m *pb.MemberChange) {
	n := a.node
	group, err1 := protocol.IDFromBytes[protocol.GroupID](m.GetGroupId())
	user, err2 := protocol.IDFromBytes[protocol.UserID](m.GetUserId())
	if errors.Join(err1, err2) != nil {
		return
	}
	self := user == a.user
	e := Event{Group: protocol.Printable(m.GetGroup()), User: protocol.Printable(m.GetUser())}
	switch m.GetKind() {
	case pb.MemberChange_KIND_ACCEPTED:
		n.gate.Joined(group, user, stampOf(m.GetStamp()))
		if self {
			a.knowGroup(group, m.GetGroup())
			e.Kind, e.Text = "accepted", "you are a member of "+e.Group+" now"
		}
	case pb.MemberChange_KIND_REFUSED:
		if self {
			e.Kind, e.Text = "refused", "your request to join "+e.Group+" was refused"
		}
	case pb.MemberChange_KIND_REMOVED:
		n.gate.Left(group, user, stampOf(m.GetStamp()))
		n.closeDisallowed()
		if self {
			was := a.isMember(group)
			a.lostGroup(group, m.GetGroup(), ceasedToBeMember)
			if was { // otherwise the user left, and knows
				e.Kind, e.Text = "removed", "you are no longer a member of "+e.Group
			}
		}
	case pb.MemberChange_KIND_OWNER:
		if self {
			e.Kind, e.Text = "owner", "you own "+e.Group+" now"
		}
	case pb.MemberChange_KIND_UNSPECIFIED: // of a newer tracker: nothing to tell
	}
	if e.Kind != "" {
		n.tell(e)
	}
}

// renamed tells of a name that is shown with a suffix from now on, because an
// earlier claimant turned up.
func (a *account) renamed(r *pb.Renamed) {
	if r.GetKind() == "user" && r.GetOldName() == a.shownName() {
		a.rename(r.GetNewName())
	}
	a.node.tell(Event{Kind: "renamed", Text: protocol.Printable(fmt.Sprintf("the %s name %q was already taken elsewhere; it is shown as %q now", r.GetKind(), r.GetOldName(), r.GetNewName()))})
}

func stampOf(s *pb.Stamp) protocol.Stamp {
	return protocol.Stamp{Wall: s.GetWallMs(), Logical: s.GetLogical(), Origin: s.GetOrigin()}
}
