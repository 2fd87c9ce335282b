// Package piece speaks the piece protocol, both ends: Server gives pieces to
// members, Conn fetches them. It knows framing, order and deadlines; who may
// have what is the gate's to say, what to fetch next the scheduler's.
package piece

import (
	"errors"
	"io"
	"time"

	logging "github.com/ipfs/go-log/v2"

	"github.com/p2pshare/p2pshare/protocol"
)

var log = logging.Logger("p2pshare/piece")

// What a Closed may carry beside a *protocol.Error and the connection's end.
var (
	// ErrViolation is a message that no honest peer sends.
	ErrViolation = errors.New("the peer broke the piece protocol")
	// ErrLate is a missed deadline.
	ErrLate = errors.New("the peer is too slow")
)

const (
	// maxLeecherHeader bounds what a leecher sends: a ticket at the most.
	maxLeecherHeader = 2 << 10
	// chunk is the unit of reading a source: longer reads cost more CPU, since
	// the bytes leave the cache between reading and encrypting. With the headers
	// of its piece and of the multiplexer it stays within 64 KiB, so that it goes
	// out as one frame from one buffer of that size.
	chunk = 64<<10 - 256
	// headerRoom is what the header of a piece takes at most in front of its
	// first chunk.
	headerRoom = 32
)

// stream is what both ends need of a libp2p stream.
type stream interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
	Close() error
	// Reset ends both directions at once and unblocks Read and Write.
	Reset() error
}

// timing is the deadlines, which tests shorten. Its zero value means the protocol's.
type timing struct {
	open, silence, window, waitTurn time.Duration
	minRate                         int64         // bytes per second over window
	stall                           time.Duration // how long a blocked write may hold an upload slot
	tick                            time.Duration // how often deadlines are looked at
}

func (t timing) orDefaults() timing {
	if t != (timing{}) {
		return t
	}
	return timing{
		open:     protocol.OpenTimeout,
		silence:  protocol.PieceSilence,
		window:   protocol.PieceRateWindow,
		waitTurn: protocol.WaitTurn,
		minRate:  protocol.PieceMinRate,
		stall:    500 * time.Millisecond,
		tick:     250 * time.Millisecond,
	}
}

// Event is what arrives on a Conn: Bitfield first, Closed last and exactly once.
//
//sumtype:decl
type Event interface{ isEvent() }

// Bitfield tells what the seeder has. Bit 7 of byte 0 is piece 0; Bits is nil
// if Complete, else as long as the manifest says, and the receiver's.
type Bitfield struct {
	Complete bool
	Bits     []byte
}

// Have tells of one more piece. Each piece is told once, in Bitfield or here.
type Have struct{ Piece int }

// Begun tells that a piece has begun to arrive; its Received follows, unless the
// stream ends.
type Begun struct{ Piece int }

// Received is a piece as it came, not verified, but of the right length and
// asked for. Its receiver owns Data and gives it back with Release.
type Received struct {
	Piece int
	Data  *Buffer
	Took  time.Duration // from its first byte to its last
}

// Dropped answers a request that will not be served: after a Cancel (Code
// empty), or because the seeder lacks the piece.
type Dropped struct {
	Piece int
	Code  protocol.Code
}

// Closed ends the stream. Err is nil after Conn.Close; E_NOT_MEMBER or
// E_SESSION when the seeder refused; ErrViolation, ErrLate; anything else is
// the connection's end.
type Closed struct{ Err error }

func (Bitfield) isEvent() {}
func (Have) isEvent()     {}
func (Begun) isEvent()    {}
func (Received) isEvent() {}
func (Dropped) isEvent()  {}
func (Closed) isEvent()   {}
