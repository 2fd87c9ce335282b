// Package wire frames messages on a stream: a protobuf message behind its
// length as an unsigned varint, with the limit checked before anything is
// allocated. The piece and sync protocols are spoken through it. It knows
// neither what the messages mean nor when a stream should end.
package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/p2pshare/p2pshare/protocol"
)

// ErrTooLong is returned for a length above the reader's limit or a varint of
// more than its canonical bytes.
var ErrTooLong = errors.New("message longer than its limit")

// Reader reads messages and the raw bytes between them. It belongs to one goroutine.
type Reader struct {
	r     *bufio.Reader
	limit int
	buf   []byte
}

// NewReader reads messages of at most limit bytes from r.
func NewReader(r io.Reader, limit int) *Reader { return NewReaderSize(r, limit, 4<<10) }

// NewReaderSize is NewReader that reads at most ahead bytes, at least 16, before
// they are asked for.
func NewReaderSize(r io.Reader, limit, ahead int) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, ahead), limit: limit}
}

// Read reads one message into m. At a clean end of the stream it returns
// io.EOF, within a message io.ErrUnexpectedEOF.
func (r *Reader) Read(m proto.Message) error {
	n, err := readLength(r.r)
	if err != nil {
		return err
	}
	if n > uint64(r.limit) {
		return ErrTooLong
	}
	if uint64(cap(r.buf)) < n {
		r.buf = make([]byte, n)
	}
	b := r.buf[:n]
	if _, err := io.ReadFull(r.r, b); err != nil {
		return unexpected(err)
	}
	return proto.UnmarshalOptions{RecursionLimit: 8}.Unmarshal(b, m)
}

// ReadRaw fills dst with the raw bytes that follow a header.
func (r *Reader) ReadRaw(dst []byte) error {
	_, err := io.ReadFull(r.r, dst)
	return unexpected(err)
}

// Raw returns the bytes behind the last message as a stream, for callers that
// watch the pace of a piece.
func (r *Reader) Raw() io.Reader { return r.r }

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readLength is binary.ReadUvarint that refuses overlong forms, so that one
// message has one encoding.
func readLength(r io.ByteReader) (uint64, error) {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		c, err := r.ReadByte()
		if err != nil {
			if shift > 0 {
				err = unexpected(err)
			}
			return 0, err
		}
		if c < 0x80 {
			if c == 0 && shift > 0 {
				return 0, ErrTooLong
			}
			return v | uint64(c)<<shift, nil
		}
		v |= uint64(c&0x7f) << shift
	}
	return 0, ErrTooLong
}

// Append appends the frame of m to b.
func Append(b []byte, m proto.Message) ([]byte, error) {
	b = binary.AppendUvarint(b, uint64(proto.Size(m)))
	return proto.MarshalOptions{Deterministic: true, UseCachedSize: true}.MarshalAppend(b, m)
}

// Write writes one message in one call of w.
func Write(w io.Writer, m proto.Message) error {
	b, err := Append(nil, m)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// CheckElements refuses a repeated field of more than protocol.MaxElements:
// bytes alone do not bound work.
func CheckElements(counts ...int) error {
	for _, n := range counts {
		if n > protocol.MaxElements {
			return protocol.Errorf(protocol.CodeLimit, "limit reached: %d elements in one message (%d)", n, protocol.MaxElements)
		}
	}
	return nil
}
