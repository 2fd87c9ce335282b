// Package protocol is what two processes of p2pshare must agree on: names,
// identifiers, sizes, error codes and the description of a file. It imports
// nothing else of the project and does no I/O. Its folders add the messages
// (pb), their frames (wire), signed sessions and tickets (credential), the
// tracker list (roster) and the libp2p host (host).
//
// The rest of this comment specifies the wire, for a peer in another language.
//
// # Hosts
//
// Every process is a libp2p host with an Ed25519 key; its peer ID is its
// identity. Connections are TCP with TLS 1.3 or Noise and yamux, or QUIC on the
// same port of UDP. Whoever is at the other end of a stream is known by its
// peer ID before the first byte, so no message repeats it.
//
// # Identifiers
//
// A user id is the first 16 bytes of BLAKE3 over the parts "p2pshare id 1",
// "user", the peer ID of the creating client in text form, and the canonical
// name, each behind its length in decimal and a colon, then a nonce of 16 bytes.
// A group id is the same with "group" and the creator's user id in hex. A file
// id is the BLAKE3-256 of the manifest.
//
// # Manifest
//
// See Manifest.Encode: magic, piece length, one entry (name, size, SHA-1), then
// 20 bytes of SHA-1 and 32 of BLAKE3-256 for each piece. All integers are
// unsigned varints in their shortest form. Pieces are MinPieceLength bytes, doubled
// until a file has at most EnoughPieces of them or they are PieceLength, and from
// there until it has at most MaxPieces. No other length is accepted; the last
// piece may be shorter; an empty file has none. A piece counts when both
// hashes match. When exactly one matches, the manifest contradicts itself and no
// peer is to blame.
//
// # Client to tracker: /p2pshare/tracker/1.0
//
// The service of pb/tracker.proto in the Connect protocol over HTTP/1.1, each
// stream a connection that may carry one call after another. The client proves
// who it is by its peer ID and a session in the header P2pshare-Session
// (base64). P2pshare-Stamp carries the highest stamp seen, both ways, so that
// after a change of tracker later is still later. Errors carry a Failure as a
// detail; its code decides what to do (Code.ElsewhereHelps).
//
// Attach is the one long call: the tracker sends a GroupState for each group of
// the user, then Synced, then events as they happen, and KeepAlive each second,
// with the tracker's time.
// A client that hears nothing for three seconds goes to another tracker and
// shows the same session there. Offers are told by Announce; whoever offers a
// file in part is told of that file's seeders.
//
// # Client to client: /p2pshare/piece/1.0
//
// One stream for each peer and file, opened by the downloader; messages of
// pb/piece.proto, each behind its length as a varint, at most MaxPieceHeader.
//
//	leecher                         seeder
//	Open{ticket, file id}     ->
//	                          <-    Bitfield, or Refused and the end
//	Request{piece}            ->
//	Request{piece}            ->
//	                          <-    Piece{piece, length} + length raw bytes
//	                          <-    Have{piece}, whenever it gets one
//	Cancel{piece}             ->
//	                          <-    Dropped{piece}, or the Piece if it was under way
//	RenewTicket{ticket}       ->    before the last one expires
//	                          <-    WaitTurn, every 3 s while requests wait
//
// The seeder checks the ticket before it looks for the file, and refuses a
// stranger, a file that is not there, and a file of another group alike. Whoever
// has MaxPieceStreamsPerPeer streams open is refused another with E_BUSY before
// that. The length of a Piece is what the manifest says. Deadlines count while
// the bytes of a piece are under way: ten seconds without one, or less than
// 16 KiB/s over twenty, end the stream, on either side. A piece comes from one
// peer alone, so a wrong one names its author.
//
// # Tracker to tracker: /p2pshare/sync/1.0 and the topic /p2pshare/state/1.0
//
// See pb/sync.proto: one SyncRequest and its answer a stream. The topic is
// gossipsub under the protocol name /p2pshare/meshsub/1.2.0 among the trackers
// of the list, with signed messages. What it carries is a hint; the exchange of
// digests is what brings catalogs together.
//
// # Credentials
//
// Sessions and tickets are libp2p signed envelopes by a tracker, over the bytes
// that package credential specifies, domains p2pshare-session-v1 and
// p2pshare-ticket-v1, payload types /p2pshare/session/1 and /p2pshare/ticket/1.
// A reader checks signature, payload type, key type, signer, network, the peer
// at the other end, and times with two minutes of skew.
//
// # Compatibility
//
// Fields are added, never renumbered; unknown ones are ignored. A change that
// old peers would misread takes a new protocol name. Error codes are append-only.
package protocol
