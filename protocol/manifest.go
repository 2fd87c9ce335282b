package protocol

import (
	"encoding/binary"
	"encoding/hex"
	"math"

	"github.com/zeebo/blake3"
)

// SHA1 is there because users compare it with what other tools print. It no
// longer resists collisions, so it is never an identifier and never the only check.
type SHA1 [20]byte

// String returns lower-case hex.
func (s SHA1) String() string { return hex.EncodeToString(s[:]) }

// PieceHash is what a piece must match: both, or it does not count. BLAKE3 decides.
type PieceHash struct {
	SHA1   SHA1
	BLAKE3 [32]byte
}

// Manifest describes a file: what a downloader needs to check every byte. It
// is immutable once made; the zero value is not valid.
type Manifest struct {
	Name        string // a valid file name, see CanonicalFile
	Size        int64  // bytes
	PieceLength int64  // bytes; what PieceLengthFor gives for Size
	SHA1        SHA1   // of the whole file
	Pieces      []PieceHash
}

// PieceLengthFor returns the piece length of every file of size bytes, or E_LIMIT:
// the shortest one, doubling from MinPieceLength on, with which the file has at
// most EnoughPieces pieces, or from PieceLength on at most MaxPieces.
func PieceLengthFor(size int64) (int64, error) {
	most := int64(EnoughPieces)
	for length := int64(MinPieceLength); length <= MaxPieceLength; length *= 2 {
		if length == PieceLength {
			most = MaxPieces
		}
		if size <= length*most {
			return length, nil
		}
	}
	return 0, Errorf(CodeLimit, "limit reached: a file may have %d bytes", int64(MaxPieceLength)*MaxPieces)
}

// PieceCount returns how many pieces a file of size bytes has; an empty file has none.
func PieceCount(size, pieceLength int64) int {
	return int((size + pieceLength - 1) / pieceLength)
}

// PieceSize returns the bytes of piece i: the last one may be shorter.
func (m *Manifest) PieceSize(i int) int64 {
	return min(m.PieceLength, m.Size-m.PieceOffset(i))
}

// PieceOffset returns where piece i begins in the file.
func (m *Manifest) PieceOffset(i int) int64 { return int64(i) * m.PieceLength }

// manifestMagic begins every encoding; the last byte is the version.
const manifestMagic = "p2psM\x01"

// Encode returns the canonical bytes: magic; uvarint piece length; uvarint
// number of entries (1); for each entry uvarint length and bytes of its path,
// uvarint size, SHA-1; then for each piece SHA-1 and BLAKE3-256. Entries lie
// one behind another in one space of pieces, so that a folder can be a manifest.
func (m *Manifest) Encode() []byte {
	b := make([]byte, 0, len(manifestMagic)+64+len(m.Name)+len(m.Pieces)*52)
	b = append(b, manifestMagic...)
	b = binary.AppendUvarint(b, uint64(m.PieceLength))
	b = binary.AppendUvarint(b, 1)
	b = binary.AppendUvarint(b, uint64(len(m.Name)))
	b = append(b, m.Name...)
	b = binary.AppendUvarint(b, uint64(m.Size))
	b = append(b, m.SHA1[:]...)
	for i := range m.Pieces {
		b = append(b, m.Pieces[i].SHA1[:]...)
		b = append(b, m.Pieces[i].BLAKE3[:]...)
	}
	return b
}

// ID returns the hash of the canonical bytes.
func (m *Manifest) ID() FileID { return ManifestID(m.Encode()) }

// ManifestID returns the id of the file that the canonical bytes describe.
func ManifestID(encoded []byte) FileID { return FileID(blake3.Sum256(encoded)) }

// DecodeManifest checks everything that can be checked without the file and
// refuses every encoding but the canonical one. Errors: E_BAD_MANIFEST, E_NAME, E_LIMIT.
func DecodeManifest(b []byte) (*Manifest, error) {
	m, hashes, err := decodeManifest(b, int64(len(b)))
	if err != nil {
		return nil, err
	}
	m.Pieces = make([]PieceHash, len(hashes)/hashesLength)
	for i := range m.Pieces {
		at := hashes[i*hashesLength:]
		copy(m.Pieces[i].SHA1[:], at)
		copy(m.Pieces[i].BLAKE3[:], at[len(m.Pieces[i].SHA1):])
	}
	return m, nil
}

// CheckManifest is DecodeManifest for those who only pass the bytes on.
func CheckManifest(b []byte) error {
	_, _, err := decodeManifest(b, int64(len(b)))
	return err
}

// DecodeManifestHead is DecodeManifest for those who need no pieces, which it
// leaves out: b is the beginning of an encoding of size bytes, 1 KiB at least.
func DecodeManifestHead(b []byte, size int64) (*Manifest, error) {
	m, _, err := decodeManifest(b, size)
	return m, err
}

// hashesLength is what the hashes of one piece take.
const hashesLength = 20 + 32

// decodeManifest checks b, which is the beginning of size bytes, and returns all
// but the pieces, and their hashes as far as they are in b.
func decodeManifest(b []byte, size int64) (*Manifest, []byte, error) {
	if size > MaxManifest {
		return nil, nil, Errorf(CodeLimit, "limit reached: a manifest may have %d bytes", MaxManifest)
	}
	d := manifestDecoder{rest: b}
	if string(d.bytes(uint64(len(manifestMagic)))) != manifestMagic {
		return nil, nil, badManifest("it does not begin like one")
	}
	m := &Manifest{PieceLength: int64(d.uvarint())}
	if d.uvarint() != 1 {
		return nil, nil, badManifest("it does not describe exactly one file")
	}
	m.Name = string(d.bytes(d.uvarint()))
	m.Size = int64(d.uvarint())
	copy(m.SHA1[:], d.bytes(uint64(len(m.SHA1))))
	if d.failed {
		return nil, nil, badManifest("it is cut short")
	}
	if _, err := CanonicalFile(m.Name); err != nil {
		return nil, nil, err
	}
	// Longer pieces than the file needs would take memory from other downloads.
	if length, err := PieceLengthFor(m.Size); err != nil {
		return nil, nil, badManifest("its size is not allowed")
	} else if m.PieceLength != length {
		return nil, nil, badManifest("its piece length is not the one of its size")
	}
	if hashes := size - int64(len(b)-len(d.rest)); hashes != int64(PieceCount(m.Size, m.PieceLength)*hashesLength) {
		return nil, nil, badManifest("the number of its hashes does not fit its size")
	}
	return m, d.rest, nil
}

func badManifest(why string) error {
	return Errorf(CodeBadManifest, "the description of this file is wrong: %s", why)
}

// manifestDecoder reads fields until one is missing; then failed stays set.
type manifestDecoder struct {
	rest   []byte
	failed bool
}

func (d *manifestDecoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	// A last byte of zero behind others is a longer spelling of the same number.
	if n <= 0 || n > 1 && d.rest[n-1] == 0 || v > math.MaxInt64 {
		d.failed, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *manifestDecoder) bytes(n uint64) []byte {
	if uint64(len(d.rest)) < n {
		d.failed, d.rest = true, nil
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}
