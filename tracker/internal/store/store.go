// Package store keeps facts, manifests and a few named values of one tracker
// across restarts. The replica is its only user. It knows nothing of what the
// facts mean.
package store

import (
	"errors"

	"github.com/p2pshare/p2pshare/protocol"
)

// ErrClosed is returned by every method of a store after Close.
var ErrClosed = errors.New("store is closed")

// Record is one stored fact; Value holds everything but the key.
type Record struct {
	Key   string
	Value []byte
}

// Batch is written whole or not at all. Deletions come before what is put.
type Batch struct {
	Put    []Record
	Delete []string
	Blobs  map[protocol.FileID][]byte
	// DeleteBlobs names manifests to drop; one that is not there is no error.
	DeleteBlobs []protocol.FileID
	Meta        map[string][]byte // nil value: delete
}

// Empty reports whether there is nothing to write.
func (b *Batch) Empty() bool {
	return len(b.Put)+len(b.Delete)+len(b.Blobs)+len(b.DeleteBlobs)+len(b.Meta) == 0
}

// Store is safe for concurrent use. Its implementations pass storetest. Any
// method may return E_STATE: what it has come upon is damaged, for good.
type Store interface {
	// Commit returns when the batch is on disk. After an error either nothing
	// or, if the very last step failed, all of it may be there: what Records
	// says then is what a restart will find.
	Commit(Batch) error
	// Records calls f for each stored fact, in the order of keys; the slices are
	// valid during the call only. It ends at f's first error and returns it.
	Records(f func(Record) error) error
	// Blob returns a manifest, ok false if it is not here.
	Blob(protocol.FileID) (b []byte, ok bool, err error)
	// BlobRange returns up to n bytes of a manifest from offset, and its whole
	// size; nothing, without an error, at or behind the end.
	BlobRange(id protocol.FileID, offset int64, n int) (b []byte, size int64, ok bool, err error)
	// HasBlob is Blob without the bytes.
	HasBlob(protocol.FileID) (bool, error)
	// BlobIDs calls f with the id of each manifest; it ends at f's first error.
	BlobIDs(f func(protocol.FileID) error) error
	// Meta returns a named value, nil if there is none.
	Meta(name string) ([]byte, error)
	Close() error
}

// checkRange refuses the arguments that no implementation can serve.
func checkRange(offset int64, n int) error {
	if offset < 0 || n < 0 {
		return errors.New("read manifest: negative offset or length")
	}
	return nil
}
