package records

import (
	"encoding/json"
	"errors"
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

// WithdrawShares replaces shares by their withdrawn form and notes that
// trackers must hear of it: of all or, after an error, of none.
func (r *Records) WithdrawShares(list ...Share) error {
	return r.update(func(tx *bbolt.Tx) error {
		for _, s := range list {
			key := transferKey(s.User, s.Group, s.File)
			payload, err := json.Marshal(stored(s))
			if err == nil {
				err = tx.Bucket([]byte(bucketShares)).Put(key, seal(bucketShares, key, payload))
			}
			if err = errors.Join(err, noteStop(tx, key)); err != nil {
				return err
			}
		}
		return nil
	})
}

// StopShare forgets the share and notes that trackers must hear of it.
func (r *Records) StopShare(s Stop) error {
	return r.update(func(tx *bbolt.Tx) error {
		key := transferKey(s.User, s.Group, s.File)
		return errors.Join(tx.Bucket([]byte(bucketShares)).Delete(key), noteStop(tx, key))
	})
}

func noteStop(tx *bbolt.Tx, key []byte) error {
	payload, err := json.Marshal(storedStop{Since: time.Now().Round(0)})
	if err != nil {
		return protocol.Errorf(protocol.CodeInternal, "encoding a record: %w", err)
	}
	return tx.Bucket([]byte(bucketStops)).Put(key, seal(bucketStops, key, payload))
}

// ToldStops forgets stops: a tracker has heard of them, or the files are shared
// again.
func (r *Records) ToldStops(list ...Stop) error {
	if len(list) == 0 {
		return nil
	}
	return r.update(func(tx *bbolt.Tx) error {
		for _, s := range list {
			if err := tx.Bucket([]byte(bucketStops)).Delete(transferKey(s.User, s.Group, s.File)); err != nil {
				return err
			}
		}
		return nil
	})
}
