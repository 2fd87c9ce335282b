package protocol

import "time"

// Limits that both ends enforce. A value here is part of the protocol: changing
// one needs a reason beside it and the golden tests looked at.
const (
	// PieceLength is the unit of request and of verification of ordinary files, from
	// PieceLength*EnoughPieces = 64 MiB on: 512 KiB.
	PieceLength = 512 << 10
	// MinPieceLength is that of the smallest files.
	MinPieceLength = 128 << 10
	// EnoughPieces is how many pieces a file has at most before they become longer
	// than MinPieceLength: with fewer, members who fetch a file together cannot
	// share the work.
	EnoughPieces = 128
	// MaxPieceLength keeps a piece within the budget of bytes in flight.
	MaxPieceLength = 16 << 20
	// MaxPieces bounds a manifest at 262,144 * 52 bytes = 13.6 MB.
	MaxPieces = 262_144
	// MaxManifest is the longest canonical encoding of a manifest, in bytes.
	MaxManifest = 16 << 20
	// ManifestChunk is the most data of one message that carries a manifest.
	ManifestChunk = 64 << 10

	// MaxRequest and MaxReply bound one message of the tracker service.
	MaxRequest = 64 << 10
	MaxReply   = 256 << 10
	// MaxElements bounds any repeated field: bytes alone do not bound work.
	MaxElements = 1_000
	// PageSize is how many entries a list answers with at most.
	PageSize = 200
	// MaxSeeders is how many peers a tracker names for one file.
	MaxSeeders = 50
	// MaxAddrs is how many addresses a client may announce.
	MaxAddrs = 8

	// MaxPieceHeader bounds one header of the piece protocol. A bitfield of
	// MaxPieces takes 32 KiB of it.
	MaxPieceHeader = 40 << 10
	// MaxGossip bounds a message on the topic.
	MaxGossip = 64 << 10
	// MaxSync bounds a message of the sync protocol.
	MaxSync = 512 << 10
	// BlobChunk is the most data of one Blob reply.
	BlobChunk = 256 << 10
	// MaxLeases and MaxOffers bound the clients, and all that they offer, that one
	// tracker may tell another one of: what that one has to keep in memory for it.
	MaxLeases = 100_000
	MaxOffers = 2_000_000
	// MaxFactValue bounds the value of one fact.
	MaxFactValue = 48 << 10

	// MaxCredential bounds a session or a ticket envelope.
	MaxCredential = 1 << 10
)

// MaxStrangeStreams is how many streams of one address may be open at one process
// before anything was said on them that only a user can say: one for each of a
// class that logs in, and at 256 KiB, which a stream may send unread, 32 MiB. Who
// comes on top loses the connection; a larger class behind one address logs in
// in turns.
const MaxStrangeStreams = 128

// Limits per user and group. More is E_LIMIT.
const (
	MaxSessionsPerUser  = 8
	MaxGroupsOwned      = 50
	MaxGroupsJoined     = 200
	MaxMembersPerGroup  = 1_000
	MaxFilesPerGroup    = 10_000
	MaxRequestsPerGroup = 100
	MaxRequestsPerUser  = 20
	MaxSharesPerUser    = 10_000
	// MaxManifestsPerUser is the sum of manifest bytes that one user's files take.
	MaxManifestsPerUser = 256 << 20
)

// Times.
const (
	SessionLife   = 24 * time.Hour      // then it must be renewed
	SessionRenew  = 30 * 24 * time.Hour // then the password is needed again
	TicketLife    = 15 * time.Minute
	TicketMaxLife = time.Hour // a seeder refuses longer ones
	// CredentialSkew is how far clocks of the two ends may differ.
	CredentialSkew = 2 * time.Minute
	// SessionAhead is by how much the clock of the tracker that made a session may
	// have been ahead: its users go to the others without their passwords.
	SessionAhead = time.Hour
	// TicketGrace is how long a seeder without a tracker goes on with tickets
	// that were valid when it lost the last one.
	TicketGrace = 4 * time.Hour

	// KeepAlive is the pace of events on an idle push stream; a client that
	// has heard nothing for PushSilence takes the tracker for dead.
	KeepAlive   = time.Second
	PushSilence = 3 * time.Second

	// OpenTimeout is how long a new piece stream may take to its first header.
	OpenTimeout = 5 * time.Second
	// PieceSilence and PieceMinRate (bytes per second over PieceRateWindow)
	// are the deadlines within the bytes of a piece, in either direction.
	PieceSilence    = 10 * time.Second
	PieceMinRate    = 16 << 10
	PieceRateWindow = 20 * time.Second
	// WaitTurn is the pace at which a seeder reassures a waiting leecher.
	WaitTurn = 3 * time.Second

	// ReserveLife is how long a name stays reserved for an unfinished write.
	ReserveLife = 5 * time.Second
	// ConfirmTimeout is how long a write waits for a second tracker's disk.
	ConfirmTimeout = 2 * time.Second
)

// Streams and queues of the piece protocol.
const (
	MaxPieceStreamsPerPeer = 8
	// MaxRequestsQueued is how many requests of one stream may wait at a seeder.
	MaxRequestsQueued = 64
	MaxUploadSlots    = 64
)
