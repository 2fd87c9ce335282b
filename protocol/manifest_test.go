package protocol_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/p2pshare/p2pshare/internal/frugal"
	"github.com/p2pshare/p2pshare/protocol"
)

func sample(size int64) *protocol.Manifest {
	m := &protocol.Manifest{Name: "lecture-07.mp4", Size: size, SHA1: protocol.SHA1{7}}
	m.PieceLength, _ = protocol.PieceLengthFor(size)
	m.Pieces = make([]protocol.PieceHash, protocol.PieceCount(size, m.PieceLength))
	for i := range m.Pieces {
		m.Pieces[i].SHA1[0], m.Pieces[i].BLAKE3[0] = byte(i), byte(i+1)
	}
	return m
}

// TestManifestGolden fixes the bytes: file ids of every existing file depend on them.
func TestManifestGolden(t *testing.T) {
	const want = "703270734d01808008010e6c6563747572652d30372e6d703481800807" +
		"00000000000000000000000000000000000000" +
		"0000000000000000000000000000000000000000" + "0100000000000000000000000000000000000000000000000000000000000000" +
		"0100000000000000000000000000000000000000" + "0200000000000000000000000000000000000000000000000000000000000000"
	m := sample(131_073)
	if got := hex.EncodeToString(m.Encode()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	const id = "4df39572"
	if got := m.ID().String()[:8]; got != id {
		t.Errorf("id begins %s, want %s", got, id)
	}
}

func TestGeometry(t *testing.T) {
	tests := []struct {
		size   int64
		pieces int
		last   int64
	}{
		{0, 0, 0},
		{1, 1, 1},
		{131_071, 1, 131_071},
		{131_072, 1, 131_072},
		{131_073, 2, 1},
		{16 << 20, 128, 131_072},
		{16<<20 + 1, 65, 1},
		{64 << 20, 128, 524_288},
		{64<<20 + 1, 129, 1},
	}
	for _, test := range tests {
		m := sample(test.size)
		if len(m.Pieces) != test.pieces {
			t.Errorf("%d bytes: got %d pieces, want %d", test.size, len(m.Pieces), test.pieces)
		}
		if n := len(m.Pieces); n > 0 && m.PieceSize(n-1) != test.last {
			t.Errorf("%d bytes: last piece has %d, want %d", test.size, m.PieceSize(n-1), test.last)
		}
		got, err := protocol.DecodeManifest(m.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestPieceLengthFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(0, protocol.MaxPieceLength*protocol.MaxPieces).Draw(t, "size")
		length, err := protocol.PieceLengthFor(size)
		if err != nil {
			t.Fatal(err)
		}
		if protocol.PieceCount(size, length) > protocol.MaxPieces {
			t.Errorf("%d bytes have too many pieces", size)
		}
		enough := protocol.MaxPieces
		if length <= protocol.PieceLength {
			enough = protocol.EnoughPieces
		}
		if length > protocol.MinPieceLength && protocol.PieceCount(size, length/2) <= enough {
			t.Errorf("%d bytes would fit shorter pieces", size)
		}
	})
	for _, test := range []struct{ size, length int64 }{
		{0, 128 << 10},
		{16 << 20, 128 << 10},
		{16<<20 + 1, 256 << 10},
		{32 << 20, 256 << 10},
		{32<<20 + 1, 512 << 10},
		{128 << 30, 512 << 10},
		{128<<30 + 1, 1 << 20},
		{4 << 40, 16 << 20},
	} {
		if got, err := protocol.PieceLengthFor(test.size); err != nil || got != test.length {
			t.Errorf("%d bytes: got %d, %v, want %d", test.size, got, err, test.length)
		}
	}
	if _, err := protocol.PieceLengthFor(protocol.MaxPieceLength*protocol.MaxPieces + 1); protocol.CodeOf(err) != protocol.CodeLimit {
		t.Errorf("got %v, want E_LIMIT", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := sample(131_073)
	change := func(f func(m *protocol.Manifest)) []byte {
		m := *good
		f(&m)
		return m.Encode()
	}
	tests := []struct {
		name string
		b    []byte
		want protocol.Code
	}{
		{"nothing", nil, protocol.CodeBadManifest},
		{"cut", good.Encode()[:60], protocol.CodeBadManifest},
		{"longer", append(good.Encode(), 0), protocol.CodeBadManifest},
		{"evil name", change(func(m *protocol.Manifest) { m.Name = "../x" }), protocol.CodeName},
		{"odd piece length", change(func(m *protocol.Manifest) { m.PieceLength-- }), protocol.CodeBadManifest},
		{"short pieces", change(func(m *protocol.Manifest) { m.PieceLength = 1 << 10 }), protocol.CodeBadManifest},
		{"pieces of an ordinary file", change(func(m *protocol.Manifest) {
			m.PieceLength, m.Pieces = protocol.PieceLength, m.Pieces[:1]
		}), protocol.CodeBadManifest},
		{"long pieces", change(func(m *protocol.Manifest) {
			m.Size, m.PieceLength, m.Pieces = 64<<20, protocol.MaxPieceLength, make([]protocol.PieceHash, 4)
		}), protocol.CodeBadManifest},
		{"too large a file", change(func(m *protocol.Manifest) {
			m.Size, m.PieceLength = protocol.MaxPieceLength*protocol.MaxPieces+1, protocol.MaxPieceLength
		}), protocol.CodeBadManifest},
		{"too few hashes", change(func(m *protocol.Manifest) { m.Size *= 9 }), protocol.CodeBadManifest},
		{"negative size", change(func(m *protocol.Manifest) { m.Size = -1 }), protocol.CodeBadManifest},
		{"too long", make([]byte, protocol.MaxManifest+1), protocol.CodeLimit},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := protocol.DecodeManifest(test.b); protocol.CodeOf(err) != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(sample(0).Encode())
	f.Add(sample(131_073).Encode())
	f.Add(sample(60 * protocol.MinPieceLength).Encode()) // longer than what DecodeManifestHead needs
	f.Add([]byte("p2psM\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer frugal.Check(t)()
		m, err := protocol.DecodeManifest(b)
		if checked := protocol.CheckManifest(b); (checked == nil) != (err == nil) {
			t.Errorf("decoding says %v, checking %v", err, checked)
		}
		head, headErr := protocol.DecodeManifestHead(b[:min(len(b), 1<<10)], int64(len(b)))
		if (headErr == nil) != (err == nil) {
			t.Errorf("decoding says %v, of the head %v", err, headErr)
		}
		if err != nil {
			return
		}
		if !bytes.Equal(m.Encode(), b) {
			t.Errorf("%x was accepted but is not canonical", b)
		}
		m.Pieces = nil
		if diff := cmp.Diff(m, head); diff != "" {
			t.Errorf("the head is not that of the whole: %s", diff)
		}
	})
}
