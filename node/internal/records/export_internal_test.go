package records

import (
	"io"

	"go.etcd.io/bbolt"
)

// Inspect tells how many records of a file can be read, and its first fault.
func Inspect(f io.ReaderAt) (records int, fault error) {
	fault = inspect(f, func(entry) { records++ })
	return records, fault
}

// Seal and Unseal are the encoding of a journal.
func Seal(key, payload []byte) []byte { return seal(bucketJournals, key, payload) }

func Unseal(key, value []byte) (payload []byte, ok bool) { return unseal(bucketJournals, key, value) }

// Spoil overwrites the journals as they are stored.
func (r *Records) Spoil(change func(value []byte) []byte) error {
	return r.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucketJournals))
		type pair struct{ k, v []byte }
		var all []pair
		err := b.ForEach(func(k, v []byte) error {
			all = append(all, pair{append([]byte{}, k...), change(append([]byte{}, v...))})
			return nil
		})
		for _, p := range all {
			if err == nil {
				err = b.Put(p.k, p.v)
			}
		}
		return err
	})
}
