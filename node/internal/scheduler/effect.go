package scheduler

import (
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

// Effect is something that the owner of the scheduler must do now.
//
//sumtype:decl
type Effect interface{ isEffect() }

// Fetch asks a peer for a piece. Exactly one PieceReceived or FetchFailed
// follows, or the PeerLeft of that peer.
type Fetch struct {
	Peer  Peer
	Piece int
}

// CancelFetch takes a Fetch back. Its answer follows all the same, and may be
// the piece.
type CancelFetch struct {
	Peer  Peer
	Piece int
}

// Reclaim takes a Fetch back unless it is under way, the same to the peer as
// CancelFetch. The piece is not asked of another peer before the answer, or a
// CancelFetch after all.
type Reclaim struct {
	Peer  Peer
	Piece int
}

// Verify checks and stores the piece of the PieceReceived that this step was
// about. Exactly one PieceVerified, PieceCorrupt, PieceInconsistent or
// PieceUnsaved follows. A received piece without this effect is to be thrown away.
type Verify struct {
	Peer  Peer
	Piece int
}

// Ban ends the connection to a peer, if there is one, and keeps it from coming
// back for a while. Nothing is outstanding with it any more.
type Ban struct {
	Peer Peer
	For  time.Duration
	// Code is E_BAD_DATA after a bad piece, E_BUSY if it did not answer.
	Code protocol.Code
	// Bad counts the offences of a peer that has just sent a bad piece; zero for
	// any other ban.
	Bad int
}

// FindPeers asks for more peers that have the file.
type FindPeers struct{}

// Finish ends the download: all pieces are verified. No effect follows it.
type Finish struct{}

// Fail ends the download: it can never succeed. No effect follows it.
type Fail struct{ Err *protocol.Error }

func (Fetch) isEffect()       {}
func (CancelFetch) isEffect() {}
func (Reclaim) isEffect()     {}
func (Verify) isEffect()      {}
func (Ban) isEffect()         {}
func (FindPeers) isEffect()   {}
func (Finish) isEffect()      {}
func (Fail) isEffect()        {}
