package catalog

import (
	"strings"

	"github.com/p2pshare/p2pshare/protocol"
)

// Kind is what a fact is about. Its key tells it.
type Kind byte

// The kinds, with the form of their keys.
const (
	KindUser      Kind = iota + 1 // user/<uid>
	KindVerifier                  // cred/<uid>
	KindDisabled                  // disabled/<uid>
	KindSession                   // session/<uid>/<sid>
	KindRevoked                   // revoked/<sid>
	KindUserName                  // name/user/<canonical>/<uid>
	KindGroupName                 // name/group/<canonical>/<gid>
	KindGroup                     // group/<gid>
	KindRequest                   // request/<gid>/<uid>
	KindRemoved                   // removed/<gid>/<uid>/<tracker>
	KindGrant                     // grant/<gid>/<uid>
	KindOwner                     // owner/<gid>
	KindFile                      // file/<gid>/<fid>
	KindShare                     // share/<gid>/<fid>/<uid>/<client>
	KindFileName                  // filename/<gid>/<canonical>/<uid>
)

// parts is a key taken apart; what its kind does not have is zero.
type parts struct {
	kind    Kind
	user    protocol.UserID
	group   protocol.GroupID
	file    protocol.FileID
	session protocol.SessionID
	name    string // canonical
	peer    string // the client of a share, the tracker of a removal
}

// IsVerifier reports whether the fact of k is a password verifier, which never
// travels by gossip.
func IsVerifier(k Key) bool { return strings.HasPrefix(string(k), "cred/") }

func parseKey(k Key) (parts, error) {
	r := keyReader{rest: string(k)}
	var p parts
	switch kind := r.next(); kind {
	case "user":
		p.kind = KindUser
		r.id(p.user[:])
	case "cred":
		p.kind = KindVerifier
		r.id(p.user[:])
	case "disabled":
		p.kind = KindDisabled
		r.id(p.user[:])
	case "session":
		p.kind = KindSession
		r.id(p.user[:])
		r.id(p.session[:])
	case "revoked":
		p.kind = KindRevoked
		r.id(p.session[:])
	case "name":
		r.name(&p)
	case "group":
		p.kind = KindGroup
		r.id(p.group[:])
	case "request":
		p.kind = KindRequest
		r.groupUser(&p)
	case "removed":
		p.kind = KindRemoved
		r.groupUser(&p)
		r.peer(&p)
	case "grant":
		p.kind = KindGrant
		r.groupUser(&p)
	case "owner":
		p.kind = KindOwner
		r.id(p.group[:])
	case "file":
		p.kind = KindFile
		r.id(p.group[:])
		r.id(p.file[:])
	case "share":
		p.kind = KindShare
		r.id(p.group[:])
		r.id(p.file[:])
		r.id(p.user[:])
		r.peer(&p)
	case "filename":
		p.kind = KindFileName
		r.id(p.group[:])
		p.name = r.next()
		r.require(isCanonicalFile(p.name))
		r.id(p.user[:])
	default:
		return p, malformed(k, "its kind is not known")
	}
	if r.failed || r.more {
		return p, malformed(k, "its key is not one of its kind")
	}
	return p, nil
}

// keyReader takes segments off a key until one is wrong; then failed stays set.
type keyReader struct {
	rest   string
	more   bool // something, be it an empty segment, is behind the last one
	failed bool
}

func (r *keyReader) next() (segment string) {
	segment, r.rest, r.more = strings.Cut(r.rest, "/")
	return segment
}

func (r *keyReader) require(ok bool) { r.failed = r.failed || !ok }

func (r *keyReader) id(dst []byte) { r.require(fromHex(dst, r.next())) }

func (r *keyReader) groupUser(p *parts) {
	r.id(p.group[:])
	r.id(p.user[:])
}

func (r *keyReader) peer(p *parts) {
	p.peer = r.next()
	r.require(isPeer(p.peer))
}

func (r *keyReader) name(p *parts) {
	switch r.next() {
	case "user":
		p.kind, p.name = KindUserName, r.next()
		canonical, err := protocol.CanonicalUser(p.name)
		r.require(err == nil && canonical == p.name)
		r.id(p.user[:])
	case "group":
		p.kind, p.name = KindGroupName, r.next()
		canonical, err := protocol.CanonicalGroup(p.name)
		r.require(err == nil && canonical == p.name)
		r.id(p.group[:])
	default:
		r.failed = true
	}
}

// fromHex fills dst from exactly its length of lower-case hex: one id has one spelling.
func fromHex(dst []byte, s string) bool {
	if len(s) != 2*len(dst) {
		return false
	}
	for i := range dst {
		high, ok1 := nibble(s[2*i])
		low, ok2 := nibble(s[2*i+1])
		if !ok1 || !ok2 {
			return false
		}
		dst[i] = high<<4 | low
	}
	return true
}

func nibble(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	default:
		return 0, false
	}
}

// maxPeer bounds the text form of a peer ID, which has 52 or 46 characters today.
const maxPeer = 128

// isPeer accepts what may be the text form of a peer ID.
func isPeer(s string) bool {
	if s == "" || len(s) > maxPeer {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '/' {
			return false
		}
	}
	return true
}

// maxCanonicalFile is three times the longest file name, in bytes: folding case
// and composing make at most three bytes of one.
const maxCanonicalFile = 3 * 200

// isCanonicalFile bounds the name in a claim and keeps out what a terminal
// should not see. Whether it is the canonical form of a file's name shows when
// the file is there: a claim of any other name is never in force.
func isCanonicalFile(s string) bool {
	return s != "" && len(s) <= maxCanonicalFile && protocol.Printable(s) == s
}

func userKey(kind string, u protocol.UserID) Key { return Key(kind + "/" + u.String()) }

// VerifierKey is the key of a user's password verifier.
func VerifierKey(u protocol.UserID) Key { return userKey("cred", u) }

func groupUserKey(kind string, g protocol.GroupID, u protocol.UserID) Key {
	return Key(kind + "/" + g.String() + "/" + u.String())
}

func sessionKey(u protocol.UserID, s protocol.SessionID) Key {
	return Key("session/" + u.String() + "/" + s.String())
}

func revokedKey(s protocol.SessionID) Key { return Key("revoked/" + s.String()) }

// EndsOf returns the keys of the facts that end a session: a logout, an operator's
// word about the account, another password.
func EndsOf(u protocol.UserID, s protocol.SessionID) []Key {
	return []Key{revokedKey(s), userKey("disabled", u), VerifierKey(u)}
}

func userNameKey(canonical string, u protocol.UserID) Key {
	return Key("name/user/" + canonical + "/" + u.String())
}

func groupNameKey(canonical string, g protocol.GroupID) Key {
	return Key("name/group/" + canonical + "/" + g.String())
}

func groupKey(g protocol.GroupID) Key { return Key("group/" + g.String()) }

func ownerKey(g protocol.GroupID) Key { return Key("owner/" + g.String()) }

func fileKey(g protocol.GroupID, f protocol.FileID) Key {
	return Key("file/" + g.String() + "/" + f.String())
}

func shareKey(s Share) Key {
	return Key("share/" + s.Group.String() + "/" + s.File.String() + "/" + s.User.String() + "/" + s.Peer)
}

func fileNameKey(g protocol.GroupID, canonical string, u protocol.UserID) Key {
	return Key("filename/" + g.String() + "/" + canonical + "/" + u.String())
}
