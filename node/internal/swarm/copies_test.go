package swarm_test

import (
	"crypto/sha1"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/protocol"
)

// source is the content that all members have or get.
type source struct {
	manifest *protocol.Manifest
	data     []byte
}

func newSource(c class) *source {
	s := &source{data: make([]byte, int64(c.pieces)*c.pieceLength)}
	_, _ = rand.NewChaCha8([32]byte{byte(c.seed)}).Read(s.data)
	s.manifest = &protocol.Manifest{
		Name: "lecture.mp4", Size: int64(len(s.data)), PieceLength: c.pieceLength, Pieces: make([]protocol.PieceHash, c.pieces),
	}
	for i := range s.manifest.Pieces {
		off := s.manifest.PieceOffset(i)
		s.manifest.Pieces[i] = hashOf(s.data[off : off+s.manifest.PieceSize(i)])
	}
	return s
}

func hashOf(b []byte) protocol.PieceHash {
	return protocol.PieceHash{SHA1: sha1.Sum(b), BLAKE3: blake3.Sum256(b)}
}

// copyOf is one member's copy: the target of its download and what it serves.
type copyOf struct {
	*source

	mu   sync.Mutex
	have []bool
	tell map[int]func(int)
	next int
}

func (c *copyOf) Manifest() *protocol.Manifest { return c.manifest }

func (c *copyOf) Have() (bool, []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !slices.Contains(c.have, false), field(c.have)
}

func (c *copyOf) Verify(i int, data []byte) filestore.Verdict {
	if hashOf(data) != c.manifest.Pieces[i] {
		return filestore.Corrupt
	}
	return filestore.Good
}

func (c *copyOf) Store(i int, _ []byte) error {
	c.mu.Lock()
	c.have[i] = true
	var told []func(int)
	for _, tell := range c.tell {
		told = append(told, tell)
	}
	c.mu.Unlock()
	for _, tell := range told {
		tell(i)
	}
	return nil
}

func (c *copyOf) Subscribe(f func(int)) (cancel func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	key := c.next
	c.tell[key] = f
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.tell, key)
	}
}

func (c *copyOf) ReadAt(p []byte, off int64) (int, error) { return copy(p, c.data[off:]), nil }
