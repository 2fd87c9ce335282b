package protocol

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"github.com/zeebo/blake3"
)

// Stream protocols and topics. A breaking change of the wire takes a new number.
const (
	TrackerProtocol = "/p2pshare/tracker/1.0"
	PieceProtocol   = "/p2pshare/piece/1.0"
	SyncProtocol    = "/p2pshare/sync/1.0"
	// GossipProtocol is the one protocol on which trackers speak gossipsub. It is
	// not a stock name, so that no stranger's pubsub meets ours by accident.
	GossipProtocol = "/p2pshare/meshsub/1.2.0"
	StateTopic     = "/p2pshare/state/1.0"

	// Version is the version of the wire that HelloResponse tells.
	Version = "1.0"
	// UserAgent is what identify tells every connected peer.
	UserAgent = "p2pshare/1"
)

// Headers of calls to a tracker, see protocol/pb/tracker.proto.
const (
	HeaderSession = "P2pshare-Session"
	HeaderStamp   = "P2pshare-Stamp"
	HeaderTime    = "P2pshare-Time"
)

// UserID identifies an account for ever, through any change of how its name is shown.
type UserID [16]byte

// GroupID identifies a group for ever.
type GroupID [16]byte

// SessionID identifies one login on one client.
type SessionID [16]byte

// NetworkID identifies a set of trackers that hold one catalog.
type NetworkID [16]byte

// Nonce makes a creating request recognizable when it is repeated.
type Nonce [16]byte

// FileID is the BLAKE3-256 of a manifest's canonical bytes.
type FileID [32]byte

// String returns lower-case hex.
func (id UserID) String() string { return hex.EncodeToString(id[:]) }

// String returns lower-case hex.
func (id GroupID) String() string { return hex.EncodeToString(id[:]) }

// String returns lower-case hex.
func (id SessionID) String() string { return hex.EncodeToString(id[:]) }

// String returns lower-case hex.
func (id NetworkID) String() string { return hex.EncodeToString(id[:]) }

// String returns lower-case hex.
func (id FileID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether the identifier is unset.
func (id UserID) IsZero() bool { return id == UserID{} }

// IsZero reports whether the identifier is unset.
func (id GroupID) IsZero() bool { return id == GroupID{} }

// IsZero reports whether the identifier is unset.
func (id SessionID) IsZero() bool { return id == SessionID{} }

// IsZero reports whether the identifier is unset.
func (id NetworkID) IsZero() bool { return id == NetworkID{} }

// IsZero reports whether the identifier is unset.
func (id FileID) IsZero() bool { return id == FileID{} }

// ID is any of the identifiers of this package.
type ID interface {
	UserID | GroupID | SessionID | NetworkID | Nonce | FileID
}

// IDFromBytes makes an identifier of exactly its length; anything else is E_USAGE.
func IDFromBytes[T ID](b []byte) (T, error) {
	var id T
	switch p := any(&id).(type) {
	case *UserID:
		return id, fill(p[:], b)
	case *GroupID:
		return id, fill(p[:], b)
	case *SessionID:
		return id, fill(p[:], b)
	case *NetworkID:
		return id, fill(p[:], b)
	case *Nonce:
		return id, fill(p[:], b)
	case *FileID:
		return id, fill(p[:], b)
	}
	return id, nil
}

// ParseID is IDFromBytes over hex.
func ParseID[T ID](s string) (T, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		var none T
		return none, Errorf(CodeUsage, "identifier %q is not hex", s)
	}
	return IDFromBytes[T](b)
}

func fill(dst, src []byte) error {
	if len(dst) != len(src) {
		return Errorf(CodeUsage, "identifier of %d bytes, want %d", len(src), len(dst))
	}
	copy(dst, src)
	return nil
}

// NewNonce returns 16 bytes from the system's source of randomness.
func NewNonce() Nonce { return random16() }

// NewSessionID returns a random identifier.
func NewSessionID() SessionID { return SessionID(random16()) }

// NewNetworkID returns a random identifier.
func NewNetworkID() NetworkID { return NetworkID(random16()) }

func random16() (n Nonce) {
	_, _ = rand.Read(n[:]) // never fails: crypto/rand ends the process instead
	return n
}

// NewUserID derives the id of an account from the peer ID of the client that
// creates it, the canonical name and the client's nonce. A tracker computes it
// from the authenticated caller, so nobody can repeat another's creation.
func NewUserID(peerID, canonical string, nonce Nonce) UserID {
	return UserID(derive("user", peerID, canonical, nonce))
}

// NewGroupID derives the id of a group from its creator, canonical name and nonce.
func NewGroupID(creator UserID, canonical string, nonce Nonce) GroupID {
	return GroupID(derive("group", creator.String(), canonical, nonce))
}

// derive is BLAKE3 over length-prefixed parts, cut to 16 bytes: collisions
// would need 2^64 tries by somebody who gains only two groups with one id.
func derive(kind, who, name string, nonce Nonce) (id [16]byte) {
	h := blake3.New()
	for _, part := range []string{"p2pshare id 1", kind, who, name} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	_, _ = h.Write(nonce[:])
	copy(id[:], h.Sum(nil))
	return id
}
