package catalog

import "github.com/p2pshare/p2pshare/protocol"

// Meaning is what a fact says, for those who are told of changes. It is the
// fact's word alone: whether a user is a member, a share counts or a name is
// held are views, and have to be asked of the catalog.
type Meaning struct {
	Kind Kind

	// User is whom the fact is about: the account, the claimant of a name, who
	// asked, joined, left or shares. For KindGroup it is the creator, for
	// KindOwner the owner, for KindFile the first sharer, for KindRevoked whose
	// session it was.
	User    protocol.UserID
	Group   protocol.GroupID
	File    protocol.FileID // KindFile, KindShare, KindFileName
	Session protocol.SessionID
	// Name is canonical, but for KindGroup and KindFile as it was written.
	Name string
	// Peer is the client of KindShare, the tracker of KindRemoved.
	Peer string

	// On tells for KindShare that the file is shared, for KindDisabled that the
	// account is disabled.
	On      bool
	Request RequestState // KindRequest
	Until   int64        // KindSession, KindRevoked: Unix milliseconds
}

// Parse tells what a fact says. Its errors are those of Check.
func Parse(f Fact) (Meaning, error) {
	p, v, err := parse(f)
	if err != nil {
		return Meaning{}, err
	}
	m := Meaning{
		Kind: p.kind, User: p.user, Group: p.group, File: p.file,
		Session: p.session, Name: p.name, Peer: p.peer,
	}
	switch v := v.(type) {
	case accountValue:
		m.Name = v.name
	case disabledValue:
		m.On = v.off
	case sessionValue:
		m.Until = v.until
	case revokedValue:
		m.User, m.Until = v.user, v.until
	case groupValue:
		m.Name, m.User = v.name, v.creator
	case requestValue:
		m.Request = v.state
	case ownerValue:
		m.User = v.user
	case fileValue:
		m.Name, m.User = v.name, v.sharer
	case shareValue:
		m.On = v.on
	case claimValue:
		m.File = v.file
	}
	return m, nil
}
