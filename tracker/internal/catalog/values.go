package catalog

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/p2pshare/p2pshare/protocol"
)

// value is what a fact says, decoded. There is one type for each kind.
type value interface {
	appendTo(b []byte) []byte
}

func encode(v value) []byte { return v.appendTo(nil) }

type (
	accountValue  struct{ name string } // canonical
	verifierValue struct {
		resets, changes uint32
		phc             string
		// set is the stamp of the fact by which the password was set, where this
		// one replaces it with another hash of the same password; else zero.
		set protocol.Stamp
	}
	disabledValue struct{ off bool }
	sessionValue  struct {
		device       string
		since, until int64  // Unix milliseconds
		client       string // peer ID; "" in records of before it was kept
	}
	revokedValue struct {
		user  protocol.UserID
		until int64 // Unix milliseconds
	}
	userNameValue  struct{}
	groupNameValue struct{}
	groupValue     struct {
		name    string // as its creator wrote it
		creator protocol.UserID
	}
	requestValue struct{ state RequestState }
	removedValue struct{}
	grantValue   struct{ seen []protocol.Stamp } // removals, by tracker
	ownerValue   struct {
		user protocol.UserID
		seen []protocol.Stamp // removals of user
	}
	fileValue struct {
		name     string // as the manifest has it
		size     int64
		sha1     protocol.SHA1
		manifest int64 // bytes of its encoding
		sharer   protocol.UserID
	}
	shareValue struct {
		on   bool
		seen []protocol.Stamp // removals of the sharer
	}
	claimValue struct {
		since protocol.Stamp // zero: the fact's own
		file  protocol.FileID
	}
)

// Bounds of texts in values, in bytes.
const (
	maxPHC    = 512 // Argon2id with a salt of 16 and a hash of 32 bytes takes 97
	maxDevice = 200
)

func (v accountValue) appendTo(b []byte) []byte { return appendText(b, v.name) }

func (v verifierValue) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(v.resets))
	b = binary.AppendUvarint(b, uint64(v.changes))
	b = appendText(b, v.phc)
	if v.set.IsZero() {
		return b
	}
	return appendStamp(b, v.set)
}

func (v disabledValue) appendTo(b []byte) []byte { return appendFlag(b, v.off) }

func (v sessionValue) appendTo(b []byte) []byte {
	b = appendText(b, v.device)
	b = binary.AppendUvarint(b, uint64(v.since))
	b = binary.AppendUvarint(b, uint64(v.until))
	if v.client == "" {
		return b
	}
	return appendText(b, v.client)
}

func (v revokedValue) appendTo(b []byte) []byte {
	return binary.AppendUvarint(append(b, v.user[:]...), uint64(v.until))
}

func (userNameValue) appendTo(b []byte) []byte  { return b }
func (groupNameValue) appendTo(b []byte) []byte { return b }
func (removedValue) appendTo(b []byte) []byte   { return b }

func (v groupValue) appendTo(b []byte) []byte { return append(appendText(b, v.name), v.creator[:]...) }

func (v requestValue) appendTo(b []byte) []byte { return append(b, byte(v.state)) }

func (v grantValue) appendTo(b []byte) []byte { return appendStamps(b, v.seen) }

func (v ownerValue) appendTo(b []byte) []byte { return appendStamps(append(b, v.user[:]...), v.seen) }

func (v fileValue) appendTo(b []byte) []byte {
	b = appendText(b, v.name)
	b = binary.AppendUvarint(b, uint64(v.size))
	b = append(b, v.sha1[:]...)
	b = binary.AppendUvarint(b, uint64(v.manifest))
	return append(b, v.sharer[:]...)
}

func (v shareValue) appendTo(b []byte) []byte { return appendStamps(appendFlag(b, v.on), v.seen) }

func (v claimValue) appendTo(b []byte) []byte { return append(appendStamp(b, v.since), v.file[:]...) }

// decodeValue accepts exactly what appendTo makes of valid contents.
func decodeValue(kind Kind, b []byte) (value, bool) {
	d := &decoder{rest: b}
	v := d.value(kind)
	return v, d.done()
}

func (d *decoder) value(kind Kind) value {
	switch kind {
	case KindUser:
		return d.account()
	case KindVerifier:
		return d.verifier()
	case KindDisabled:
		return disabledValue{off: d.flag()}
	case KindSession:
		return d.session()
	case KindRevoked:
		var v revokedValue
		d.copy(v.user[:])
		v.until = d.time()
		return v
	case KindUserName:
		return userNameValue{}
	case KindGroupName:
		return groupNameValue{}
	case KindGroup:
		return d.group()
	case KindRequest:
		state := RequestState(d.number(uint64(RequestWithdrawn)))
		d.require(state != RequestNone)
		return requestValue{state: state}
	case KindRemoved:
		return removedValue{}
	case KindGrant:
		return grantValue{seen: d.stamps()}
	case KindOwner:
		var v ownerValue
		d.copy(v.user[:])
		v.seen = d.stamps()
		return v
	case KindFile:
		return d.file()
	case KindShare:
		return shareValue{on: d.flag(), seen: d.stamps()}
	case KindFileName:
		v := claimValue{since: d.stamp()}
		d.copy(v.file[:])
		return v
	default:
		d.fail()
		return nil
	}
}

func (d *decoder) account() value {
	v := accountValue{name: d.text(math.MaxUint8)}
	canonical, err := protocol.CanonicalUser(v.name)
	d.require(err == nil && canonical == v.name)
	return v
}

func (d *decoder) verifier() value {
	v := verifierValue{
		resets:  uint32(d.number(math.MaxUint32)),
		changes: uint32(d.number(math.MaxUint32)),
		phc:     d.text(maxPHC),
	}
	d.require(v.phc != "")
	for i := range len(v.phc) {
		if c := v.phc[i]; c <= ' ' || c > '~' {
			d.fail()
			break
		}
	}
	if d.more() {
		v.set = d.stamp()
		d.require(!v.set.IsZero())
	}
	return v
}

func (d *decoder) session() value {
	v := sessionValue{device: d.text(maxDevice), since: d.time(), until: d.time()}
	d.require(utf8.ValidString(v.device))
	if d.more() {
		v.client = d.text(maxPeer)
		d.require(isPeer(v.client))
	}
	return v
}

func (d *decoder) group() value {
	v := groupValue{name: d.text(math.MaxUint8)}
	d.copy(v.creator[:])
	_, err := protocol.CanonicalGroup(v.name)
	d.require(err == nil)
	return v
}

func (d *decoder) file() value {
	v := fileValue{
		name: d.text(math.MaxUint8),
		size: int64(d.number(protocol.MaxPieceLength * protocol.MaxPieces)),
	}
	d.copy(v.sha1[:])
	v.manifest = int64(d.number(protocol.MaxManifest))
	d.copy(v.sharer[:])
	_, err := protocol.CanonicalFile(v.name)
	d.require(err == nil && v.manifest > 0)
	return v
}
