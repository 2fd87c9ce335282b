package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/p2pshare/p2pshare/protocol"
)

// Names of the buckets of the file.
const (
	factBucket = "facts"
	blobBucket = "blobs"
	metaBucket = "meta"
)

// blobChunk is how much of a manifest one key holds: a manifest of 13 MB in one
// value would need that many free pages in a row at each write.
const blobChunk = protocol.BlobChunk

// Bolt is a Store in one bbolt file, synced to disk at each commit. Values carry
// a CRC-32C over key and value, since bbolt checks its meta pages only.
type Bolt struct {
	db   *bolt.DB
	path string
}

var _ Store = (*Bolt)(nil)

// Commit implements Store.
func (b *Bolt) Commit(batch Batch) error {
	err := b.update(func(tx *bolt.Tx) error {
		if err := putFacts(tx.Bucket([]byte(factBucket)), &batch); err != nil {
			return err
		}
		blobs := tx.Bucket([]byte(blobBucket))
		for _, id := range batch.DeleteBlobs {
			if err := deleteBlob(blobs, id); err != nil {
				return err
			}
		}
		for id, data := range batch.Blobs {
			if err := putBlob(blobs, id, data); err != nil {
				return err
			}
		}
		return putMeta(tx.Bucket([]byte(metaBucket)), batch.Meta)
	})
	return b.wrap("commit", err)
}

func putFacts(bucket *bolt.Bucket, batch *Batch) error {
	for _, k := range batch.Delete {
		if err := bucket.Delete([]byte(k)); err != nil {
			return err
		}
	}
	for _, r := range batch.Put {
		if err := put(bucket, []byte(r.Key), r.Value); err != nil {
			return err
		}
	}
	return nil
}

func putMeta(bucket *bolt.Bucket, values map[string][]byte) error {
	for name, v := range values {
		var err error
		if v == nil {
			err = bucket.Delete([]byte(name))
		} else {
			err = put(bucket, []byte(name), v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// putBlob writes the size under the id and the chunks under id and number. A
// manifest that is there already is the same one, and is left alone.
func putBlob(bucket *bolt.Bucket, id protocol.FileID, data []byte) error {
	if bucket.Get(id[:]) != nil {
		return nil
	}
	if err := put(bucket, id[:], binary.BigEndian.AppendUint64(nil, uint64(len(data)))); err != nil {
		return err
	}
	for i := 0; i*blobChunk < len(data); i++ {
		chunk := data[i*blobChunk : min((i+1)*blobChunk, len(data))]
		if err := put(bucket, chunkKey(id, i), chunk); err != nil {
			return err
		}
	}
	return nil
}

func deleteBlob(bucket *bolt.Bucket, id protocol.FileID) error {
	size, ok, err := blobSize(bucket, id)
	if !ok || err != nil {
		return err
	}
	for i := 0; int64(i)*blobChunk < size; i++ {
		if err := bucket.Delete(chunkKey(id, i)); err != nil {
			return err
		}
	}
	return bucket.Delete(id[:])
}

func chunkKey(id protocol.FileID, i int) []byte {
	return binary.BigEndian.AppendUint32(append([]byte(nil), id[:]...), uint32(i))
}

func blobSize(bucket *bolt.Bucket, id protocol.FileID) (int64, bool, error) {
	sealed := bucket.Get(id[:])
	if sealed == nil {
		return 0, false, nil
	}
	v, err := open(id[:], sealed)
	if err != nil || len(v) != 8 {
		return 0, false, errDamaged
	}
	return int64(binary.BigEndian.Uint64(v)), true, nil
}

// Records implements Store.
func (b *Bolt) Records(f func(Record) error) error {
	return b.view("read facts", func(tx *bolt.Tx) error {
		return tx.Bucket([]byte(factBucket)).ForEach(func(k, sealed []byte) error {
			v, err := open(k, sealed)
			if err != nil {
				return err
			}
			return f(Record{Key: string(k), Value: v})
		})
	})
}

// Blob implements Store.
func (b *Bolt) Blob(id protocol.FileID) ([]byte, bool, error) {
	data, _, ok, err := b.BlobRange(id, 0, protocol.MaxManifest)
	return data, ok, err
}

// BlobRange implements Store.
func (b *Bolt) BlobRange(id protocol.FileID, offset int64, n int) (data []byte, size int64, ok bool, err error) {
	if err := checkRange(offset, n); err != nil {
		return nil, 0, false, err
	}
	err = b.view("read manifest", func(tx *bolt.Tx) error {
		bucket := tx.Bucket([]byte(blobBucket))
		var err error
		if size, ok, err = blobSize(bucket, id); !ok || err != nil {
			return err
		}
		end := min(offset+int64(n), size)
		for at := offset; at < end; {
			i := at / blobChunk
			key := chunkKey(id, int(i))
			chunk, err := open(key, bucket.Get(key))
			if err != nil {
				return err
			}
			from, to := at-i*blobChunk, min(end-i*blobChunk, blobChunk)
			if to > int64(len(chunk)) {
				return errDamaged
			}
			data = append(data, chunk[from:to]...)
			at += to - from
		}
		return nil
	})
	if err != nil {
		return nil, 0, false, err
	}
	return data, size, ok, nil
}

// HasBlob implements Store.
func (b *Bolt) HasBlob(id protocol.FileID) (ok bool, err error) {
	err = b.view("look for manifest", func(tx *bolt.Tx) error {
		ok = tx.Bucket([]byte(blobBucket)).Get(id[:]) != nil
		return nil
	})
	return ok, err
}

// BlobIDs implements Store.
func (b *Bolt) BlobIDs(f func(protocol.FileID) error) error {
	return b.view("list manifests", func(tx *bolt.Tx) error {
		c := tx.Bucket([]byte(blobBucket)).Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			var id protocol.FileID
			if len(k) != len(id) {
				continue // a chunk
			}
			copy(id[:], k)
			if err := f(id); err != nil {
				return err
			}
		}
		return nil
	})
}

// Meta implements Store.
func (b *Bolt) Meta(name string) (value []byte, err error) {
	err = b.view("read "+name, func(tx *bolt.Tx) error {
		sealed := tx.Bucket([]byte(metaBucket)).Get([]byte(name))
		if sealed == nil {
			return nil
		}
		v, err := open([]byte(name), sealed)
		value = append([]byte{}, v...)
		return err
	})
	return value, err
}

// Close implements Store. It waits for commits and reads under way.
func (b *Bolt) Close() error { return b.wrap("close", b.db.Close()) }

func (b *Bolt) update(f func(*bolt.Tx) error) error {
	return guard(func() error { return b.db.Update(f) })
}

func (b *Bolt) view(op string, f func(*bolt.Tx) error) error {
	return b.wrap(op, guard(func() error { return b.db.View(f) }))
}

func (b *Bolt) wrap(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errDamaged), protocol.CodeOf(err) == protocol.CodeState:
		return b.damaged(err)
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return ErrClosed
	default:
		return fmt.Errorf("%s: %w", op, err)
	}
}

// errDamaged is the cause behind E_STATE where a checksum does not match.
var errDamaged = errors.New("a checksum does not match")

func put(bucket *bolt.Bucket, key, value []byte) error {
	sealed := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(value)), checksum(key, value))
	return bucket.Put(key, append(sealed, value...))
}

// open returns the value that put has stored under key.
func open(key, sealed []byte) ([]byte, error) {
	if len(sealed) < 4 || binary.BigEndian.Uint32(sealed) != checksum(key, sealed[4:]) {
		return nil, errDamaged
	}
	return sealed[4:], nil
}

func checksum(key, value []byte) uint32 {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}
