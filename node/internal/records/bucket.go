package records

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/protocol"
)

// The buckets, and the keys of those with a single value of a kind.
const (
	bucketClient    = "client"    // sessionKey, learnedKey, pendingKey -> JSON
	bucketShares    = "shares"    // transferKey -> JSON
	bucketDownloads = "downloads" // transferKey -> JSON
	bucketJournals  = "journals"  // transferKey -> bitfield
	bucketManifests = "manifests" // file id -> canonical bytes
	bucketStops     = "stops"     // transferKey -> JSON
	bucketBans      = "bans"      // banKey -> JSON

	sessionKey = "session"
	learnedKey = "learned"
	pendingKey = "pending"
)

func buckets() []string {
	return []string{bucketClient, bucketShares, bucketDownloads, bucketJournals, bucketManifests, bucketStops, bucketBans}
}

// entry is one record, its checksum taken off.
type entry struct {
	bucket       string
	key, payload []byte
}

const sealSize = 4

// seal puts the CRC-32C of a record in front of its payload; bucket and key are
// in it, so that a value cannot pass for another record's.
func seal(bucket string, key, payload []byte) []byte {
	b := make([]byte, sealSize, sealSize+len(payload))
	binary.LittleEndian.PutUint32(b, checksum(bucket, key, payload))
	return append(b, payload...)
}

// unseal returns the payload of a sealed value, which it shares; false if the
// value is damaged.
func unseal(bucket string, key, value []byte) (payload []byte, ok bool) {
	if len(value) < sealSize {
		return nil, false
	}
	payload = value[sealSize:]
	return payload, binary.LittleEndian.Uint32(value) == checksum(bucket, key, payload)
}

func checksum(bucket string, key, payload []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, binary.LittleEndian.AppendUint32(nil, uint32(len(bucket))))
	sum = crc32.Update(sum, table, []byte(bucket))
	sum = crc32.Update(sum, table, binary.LittleEndian.AppendUint32(nil, uint32(len(key))))
	sum = crc32.Update(sum, table, key)
	return crc32.Update(sum, table, payload)
}

func damagedRecord(bucket string) error {
	return protocol.Errorf(protocol.CodeState, "a record of this client is damaged (%s in %s); restart the client to set it aside", bucket, fileName)
}

// get returns a copy of a payload, nil if there is no such record.
func (r *Records) get(bucket string, key []byte) (payload []byte, err error) {
	err = r.view(func(tx *bbolt.Tx) error {
		value := tx.Bucket([]byte(bucket)).Get(key)
		if value == nil {
			return nil
		}
		shared, ok := unseal(bucket, key, value)
		if !ok {
			return damagedRecord(bucket)
		}
		payload = append([]byte{}, shared...) // not nil even if empty
		return nil
	})
	return payload, err
}

// put stores a record.
func (r *Records) put(bucket string, key, payload []byte) error {
	return r.update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucket)).Put(key, seal(bucket, key, payload))
	})
}

// getJSON fills in v and reports whether the record exists.
func (r *Records) getJSON(bucket string, key []byte, v any) (bool, error) {
	payload, err := r.get(bucket, key)
	if err != nil || payload == nil {
		return false, err
	}
	if err := json.Unmarshal(payload, v); err != nil {
		return false, damagedRecord(bucket)
	}
	return true, nil
}

// putJSON stores v.
func (r *Records) putJSON(bucket string, key []byte, v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return protocol.Errorf(protocol.CodeInternal, "encoding a record: %w", err)
	}
	return r.put(bucket, key, payload)
}

// each calls f for every record whose key begins with prefix, in order of keys.
// What f gets is valid during the call only.
func (r *Records) each(bucket string, prefix []byte, f func(key, payload []byte) error) error {
	return r.view(func(tx *bbolt.Tx) error { return eachIn(tx, bucket, prefix, f) })
}

func eachIn(tx *bbolt.Tx, bucket string, prefix []byte, f func(key, payload []byte) error) error {
	c := tx.Bucket([]byte(bucket)).Cursor()
	for k, v := c.Seek(prefix); k != nil && len(k) >= len(prefix) && string(k[:len(prefix)]) == string(prefix); k, v = c.Next() {
		payload, ok := unseal(bucket, k, v)
		if !ok {
			return damagedRecord(bucket)
		}
		if err := f(k, payload); err != nil {
			return err
		}
	}
	return nil
}

func (r *Records) view(f func(tx *bbolt.Tx) error) error {
	return fault(r.db.View(f))
}

func (r *Records) update(f func(tx *bbolt.Tx) error) error {
	return fault(r.db.Update(f))
}

func fault(err error) error {
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return protocol.Errorf(protocol.CodeState, "the records of this client are closed: %w", err)
	}
	return filestore.LocalFault(err, "storing a record in", fileName)
}
