package records

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"go.etcd.io/bbolt"

	"github.com/p2pshare/p2pshare/protocol"
)

// Ban is a peer that sent bad pieces of a file.
type Ban struct {
	Peer  peer.ID
	Bad   int       // how often
	Last  time.Time // the last time
	Until time.Time // it is not asked before
}

// banKey orders by file.
func banKey(f protocol.FileID, p peer.ID) []byte { return append(f[:len(f):len(f)], p...) }

// Bans returns the peers that sent bad pieces of a file.
func (r *Records) Bans(f protocol.FileID) ([]Ban, error) {
	var bans []Ban
	err := r.each(bucketBans, f[:], func(key, payload []byte) error {
		var b Ban
		id, err := peer.IDFromBytes(key[len(f):])
		if err = errors.Join(err, json.Unmarshal(payload, &b)); err != nil {
			return damagedRecord(bucketBans)
		}
		b.Peer = id
		bans = append(bans, b)
		return nil
	})
	return bans, err
}

// PutBan adds or replaces a ban, and forgets those of all files whose last
// offence was before the given time.
func (r *Records) PutBan(f protocol.FileID, b Ban, before time.Time) error {
	var old [][]byte
	err := r.each(bucketBans, nil, func(key, payload []byte) error {
		var o Ban
		if json.Unmarshal(payload, &o) != nil || o.Last.Before(before) && o.Until.Before(before) {
			old = append(old, append([]byte(nil), key...))
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.Last, b.Until = b.Last.Round(0), b.Until.Round(0)
	payload, err := json.Marshal(b)
	if err != nil {
		return protocol.Errorf(protocol.CodeInternal, "encoding a record: %w", err)
	}
	key := banKey(f, b.Peer)
	return r.update(func(tx *bbolt.Tx) error {
		bans := tx.Bucket([]byte(bucketBans))
		for _, k := range old {
			if err := bans.Delete(k); err != nil {
				return err
			}
		}
		return bans.Put(key, seal(bucketBans, key, payload))
	})
}
