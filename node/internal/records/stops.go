package records

import (
	"encoding/json"
	"time"

	"go.etcd.io/bbolt"

	"github.com/p2pshare/p2pshare/protocol"
)

// Stop is a share that has ended here and of which trackers must still hear.
type Stop struct {
	User  protocol.UserID
	Group protocol.GroupID
	File  protocol.FileID
}

// storedStop is the value of a Stop: its key says it all but when.
type storedStop struct{ Since time.Time }

// Stops returns the stops of a user that no tracker has heard of.
func (r *Records) Stops(u protocol.UserID) ([]Stop, error) {
	var stops []Stop
	err := r.each(bucketStops, u[:], func(key, _ []byte) error {
		user, group, file, ok := splitKey(key)
		if !ok {
			return damagedRecord(bucketStops)
		}
		stops = append(stops, Stop{User: user, Group: group, File: file})
		return nil
	})
	return stops, err
}

// WithdrawShare replaces the share by its withdrawn form and notes that
// trackers must hear of it.
func (r *Records) WithdrawShare(s Share) error {
	return r.stop(Stop{s.User, s.Group, s.File}, func(b *bbolt.Bucket, key []byte) error {
		payload, err := json.Marshal(stored(s))
		if err != nil {
			return protocol.Errorf(protocol.CodeInternal, "encoding a record: %w", err)
		}
		return b.Put(key, seal(bucketShares, key, payload))
	})
}

// StopShare forgets the share and notes that trackers must hear of it.
func (r *Records) StopShare(s Stop) error { return r.stop(s, (*bbolt.Bucket).Delete) }

func (r *Records) stop(s Stop, change func(shares *bbolt.Bucket, key []byte) error) error {
	key := transferKey(s.User, s.Group, s.File)
	payload, err := json.Marshal(storedStop{Since: time.Now().Round(0)})
	if err != nil {
		return protocol.Errorf(protocol.CodeInternal, "encoding a record: %w", err)
	}
	return r.update(func(tx *bbolt.Tx) error {
		if err := change(tx.Bucket([]byte(bucketShares)), key); err != nil {
			return err
		}
		return tx.Bucket([]byte(bucketStops)).Put(key, seal(bucketStops, key, payload))
	})
}

// ToldStop forgets a stop: a tracker has heard of it, or the file is shared again.
func (r *Records) ToldStop(s Stop) error {
	return r.update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketStops)).Delete(transferKey(s.User, s.Group, s.File))
	})
}
