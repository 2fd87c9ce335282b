package scheduler

import (
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

// Peer names a remote node. It is the same across connections, so that a bad
// one is known again.
type Peer string

// Event is something that happened to a download. Events that do not fit what
// the scheduler knows (a peer that never joined, a piece that does not exist)
// change nothing.
//
//sumtype:decl
type Event interface{ isEvent() }

// PeerJoined tells that requests may be sent to a peer, and what it has.
type PeerJoined struct {
	Peer     Peer
	Complete bool
	Bits     []byte // as on the wire: bit 7 of byte 0 is piece 0; ignored if Complete
}

// PeerHas tells that a peer has one piece more.
type PeerHas struct {
	Peer  Peer
	Piece int
}

// PeerLeft tells that the connection to a peer ended. Whatever it was asked for
// will not be answered.
type PeerLeft struct{ Peer Peer }

// PieceBegun tells that the piece of a Fetch has begun to arrive. Exactly one
// PieceReceived or PeerLeft follows.
type PieceBegun struct {
	Peer  Peer
	Piece int
}

// PieceReceived answers a Fetch with the piece, not verified.
type PieceReceived struct {
	Peer  Peer
	Piece int
	RTT   time.Duration // smallest of this connection; zero if not known
}

// FetchFailed answers a Fetch without the piece: Code is empty after a Reclaim
// or CancelFetch, E_BUSY if the peer's queue is full, anything else if it lacks
// the piece.
type FetchFailed struct {
	Peer  Peer
	Piece int
	Code  protocol.Code
}

// PieceVerified answers a Verify: the piece is right and stored.
type PieceVerified struct{ Piece int }

// PieceCorrupt answers a Verify: neither hash matches.
type PieceCorrupt struct{ Piece int }

// PieceInconsistent answers a Verify: exactly one hash matches, so the manifest
// contradicts itself.
type PieceInconsistent struct{ Piece int }

// PieceUnsaved answers a Verify: the piece could not be stored here and was
// thrown away. No peer is to blame.
type PieceUnsaved struct{ Piece int }

// Tick tells that time went by.
type Tick struct{}

// Paused tells of a local fault: nothing is fetched before Resumed.
type Paused struct {
	Code    protocol.Code
	Message string // for a person
}

// Resumed ends Paused.
type Resumed struct{}

// Budget sets how many bytes may be in flight from now on: asked for, or
// received and not yet verified. What is in flight already may exceed it, and
// so may one piece unless it is zero.
type Budget struct{ Bytes int64 }

// Candidates tells how many peers that are not connected may still join.
type Candidates struct{ Count int }

func (PeerJoined) isEvent()        {}
func (PeerHas) isEvent()           {}
func (PeerLeft) isEvent()          {}
func (PieceBegun) isEvent()        {}
func (PieceReceived) isEvent()     {}
func (FetchFailed) isEvent()       {}
func (PieceVerified) isEvent()     {}
func (PieceCorrupt) isEvent()      {}
func (PieceInconsistent) isEvent() {}
func (PieceUnsaved) isEvent()      {}
func (Tick) isEvent()              {}
func (Paused) isEvent()            {}
func (Resumed) isEvent()           {}
func (Budget) isEvent()            {}
func (Candidates) isEvent()        {}
