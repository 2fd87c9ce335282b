package store

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/p2pshare/p2pshare/protocol"
)

// Mem is a Store in memory, for tests and for trackers that may forget.
type Mem struct {
	mu     sync.RWMutex
	facts  map[string][]byte
	blobs  map[protocol.FileID][]byte
	meta   map[string][]byte
	closed bool
}

var _ Store = (*Mem)(nil)

// NewMem returns an empty store in memory.
func NewMem() *Mem {
	return &Mem{
		facts: map[string][]byte{},
		blobs: map[protocol.FileID][]byte{},
		meta:  map[string][]byte{},
	}
}

// Commit implements Store.
func (m *Mem) Commit(b Batch) error {
	for _, r := range b.Put {
		if r.Key == "" {
			return errors.New("commit: empty key")
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	for _, k := range b.Delete {
		delete(m.facts, k)
	}
	for _, id := range b.DeleteBlobs {
		delete(m.blobs, id)
	}
	for _, r := range b.Put {
		m.facts[r.Key] = bytes.Clone(r.Value)
	}
	for id, blob := range b.Blobs {
		m.blobs[id] = append([]byte{}, blob...)
	}
	for name, v := range b.Meta {
		if v == nil {
			delete(m.meta, name)
			continue
		}
		m.meta[name] = append([]byte{}, v...)
	}
	return nil
}

// Records implements Store. It works on a snapshot of the keys.
func (m *Mem) Records(f func(Record) error) error {
	m.mu.RLock()
	closed, facts := m.closed, maps.Clone(m.facts)
	m.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	for _, k := range slices.Sorted(maps.Keys(facts)) {
		if err := f(Record{Key: k, Value: facts[k]}); err != nil {
			return err
		}
	}
	return nil
}

// Blob implements Store.
func (m *Mem) Blob(id protocol.FileID) ([]byte, bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, false, ErrClosed
	}
	b, ok := m.blobs[id]
	return bytes.Clone(b), ok, nil
}

// BlobRange implements Store.
func (m *Mem) BlobRange(id protocol.FileID, offset int64, n int) ([]byte, int64, bool, error) {
	if err := checkRange(offset, n); err != nil {
		return nil, 0, false, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, 0, false, ErrClosed
	}
	b, ok := m.blobs[id]
	if !ok {
		return nil, 0, false, nil
	}
	size := int64(len(b))
	from := min(offset, size)
	return bytes.Clone(b[from:min(from+int64(n), size)]), size, true, nil
}

// HasBlob implements Store.
func (m *Mem) HasBlob(id protocol.FileID) (bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return false, ErrClosed
	}
	_, ok := m.blobs[id]
	return ok, nil
}

// BlobIDs implements Store.
func (m *Mem) BlobIDs(f func(protocol.FileID) error) error {
	m.mu.RLock()
	closed, ids := m.closed, slices.Collect(maps.Keys(m.blobs))
	m.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	for _, id := range ids {
		if err := f(id); err != nil {
			return err
		}
	}
	return nil
}

// Meta implements Store.
func (m *Mem) Meta(name string) ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, ErrClosed
	}
	return bytes.Clone(m.meta[name]), nil
}

// Close implements Store.
func (m *Mem) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}
