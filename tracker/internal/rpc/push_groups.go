package rpc

import (
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
)

// request tells the owner who wants to join, and the other that the answer was no.
func (b *batch) request(m catalog.Meaning, stamp protocol.Stamp) {
	g, ok := b.c.Group(m.Group)
	if !ok || b.c.Request(m.Group, m.User) != m.Request || b.c.IsMember(m.Group, m.User) {
		return
	}
	switch m.Request {
	case catalog.RequestOpen:
		b.to(b.h.clientsOf(g.Owner), &pb.Event{Body: &pb.Event_JoinRequested{
			JoinRequested: &pb.JoinRequested{Group: g.Name, User: nameOf(b.c, m.User)},
		}})
	case catalog.RequestRefused:
		b.to(b.h.clientsOf(m.User), b.memberChange(g, m.User, pb.MemberChange_KIND_REFUSED, stamp))
	case catalog.RequestNone, catalog.RequestAccepted, catalog.RequestWithdrawn:
	}
}

func (b *batch) memberChange(g catalog.Group, u protocol.UserID, kind pb.MemberChange_Kind, stamp protocol.Stamp) *pb.Event {
	return &pb.Event{Body: &pb.Event_Member{Member: &pb.MemberChange{
		GroupId: g.ID[:], Group: g.Name, UserId: u[:], User: nameOf(b.c, u), Kind: kind, Stamp: stampPB(stamp),
	}}}
}

// membership follows a grant or a removal: what counts is whether the user is
// a member with all that is known now. Even a grant can end a membership: one
// that has seen a removal that is later than all those here, and not all of these.
func (b *batch) membership(m catalog.Meaning, stamp protocol.Stamp) {
	isMember := b.c.IsMember(m.Group, m.User)
	if isMember && m.Kind == catalog.KindRemoved {
		return // a grant that knew of it is or was told
	}
	own := b.h.clientsOf(m.User)
	g, alive := b.c.Group(m.Group)
	switch {
	case isMember && alive:
		if len(own) > 0 { // the state lists all members: a catch-up has thousands of grants
			b.to(own, groupState(b.c, g, m.User, stamp))
		}
		if g.Members > 1 || g.Creator != m.User { // making a group is not being let in
			b.to(b.members(g.ID), b.memberChange(g, m.User, pb.MemberChange_KIND_ACCEPTED, stamp))
		}
	case !isMember:
		b.drops.members[member{m.Group, m.User}] = true
		if !alive {
			g, _ = b.groups.get(m.Group)
			g.ID = m.Group
			b.groupName(g.Canonical) // free for another claimant now
		}
		e := b.memberChange(g, m.User, pb.MemberChange_KIND_REMOVED, stamp)
		b.to(b.members(m.Group), e)
		b.to(own, e)
	}
	b.owner(m.Group, stamp)
}

// owner tells the members who owns the group, when they were told otherwise before.
func (b *batch) owner(id protocol.GroupID, stamp protocol.Stamp) {
	g, ok := b.c.Group(id)
	if !ok {
		return
	}
	before, known := b.groups.swap(g)
	if known && before.Owner != g.Owner {
		b.to(b.members(id), b.memberChange(g, g.Owner, pb.MemberChange_KIND_OWNER, stamp))
	}
}

// userName tells a user that the name is shown differently than before.
func (b *batch) userName(canonical string) {
	for _, account := range b.c.Claimants(canonical) {
		for _, a := range b.h.clientsOf(account.ID) {
			if before := b.h.rename(a, account.Name); before != account.Name {
				b.to([]*attached{a}, renamedEvent("user", before, account.Name))
			}
		}
	}
}

// rename notes the name that a client is told, and returns the one before.
func (h *hub) rename(a *attached, name string) (before string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, a.name = a.name, name
	return before
}

// groupName tells members of all groups that claim a name how theirs is shown
// now, where that has changed.
func (b *batch) groupName(canonical string) {
	if canonical == "" {
		return
	}
	if g, ok := b.c.GroupNamed(canonical); ok {
		b.groupShown(g)
	}
	for g := range b.c.Groups(canonical) {
		if g.Canonical != canonical {
			return
		}
		b.groupShown(g)
	}
}

func (b *batch) groupShown(g catalog.Group) {
	before, known := b.groups.get(g.ID)
	if !known || before.Name == g.Name {
		return
	}
	after := before
	after.Name = g.Name // the owner is told by owner
	b.groups.swap(after)
	b.to(b.members(g.ID), renamedEvent("group", before.Name, g.Name))
}

func renamedEvent(kind, before, after string) *pb.Event {
	return &pb.Event{Body: &pb.Event_Renamed{Renamed: &pb.Renamed{Kind: kind, OldName: before, NewName: after}}}
}

// fileClaimed follows a claim of a file's name: a new file in the group, once
// the claim is in force.
func (b *batch) fileClaimed(m catalog.Meaning) {
	ref := presence.FileRef{Group: m.Group, File: m.File}
	if !b.fileAdded(ref) {
		b.waiting.Add(ref, struct{}{})
	}
	// An earlier claim may have come, and a file be shown with digits now.
	for f := range b.c.Files(m.Group, m.Name) {
		if canonical, err := protocol.CanonicalFile(f.Original); err != nil || canonical != m.Name {
			return
		}
		ref := presence.FileRef{Group: f.Group, File: f.ID}
		if told, _ := b.suffixed.Get(ref); f.Name != f.Original && told != f.Name {
			b.suffixed.Add(ref, f.Name)
			b.to(b.h.clientsOf(f.Holder), renamedEvent("file", f.Original, f.Name))
		}
	}
}

// fileShared follows a file or a share, which a claim may have waited for.
func (b *batch) fileShared(m catalog.Meaning) {
	ref := presence.FileRef{Group: m.Group, File: m.File}
	if b.waiting.Contains(ref) && b.fileAdded(ref) {
		b.waiting.Remove(ref)
	}
	if m.Kind == catalog.KindShare && !m.On {
		b.drops.shares[share{ref, m.Peer, m.User}] = true
	}
}

func (b *batch) fileAdded(ref presence.FileRef) bool {
	g, ok1 := b.c.Group(ref.Group)
	f, ok2 := b.c.File(ref.Group, ref.File)
	if !ok1 || !ok2 || f.Holder.IsZero() {
		return false
	}
	b.to(b.members(ref.Group), &pb.Event{Body: &pb.Event_FileAdded{FileAdded: &pb.FileAdded{
		GroupId: g.ID[:], Group: g.Name, Name: f.Name, Uploader: nameOf(b.c, f.Holder), Size: f.Size, FileId: f.ID[:],
	}}})
	return true
}
