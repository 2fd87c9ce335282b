package records

import (
	"encoding/json"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/protocol"
)

// Share is a file that this client shares for a user.
type Share struct {
	User      protocol.UserID
	Group     protocol.GroupID
	GroupNm   string // as last shown
	File      protocol.FileID
	Name      string // as last shown
	Path      string // absolute
	Stamp     filestore.Stamp
	SHA1      protocol.SHA1
	Size      int64
	Since     time.Time
	Withdrawn string // reason; empty while shared
}

// storedShare is the value of a Share. Paths are bytes: not every one is UTF-8.
type storedShare struct {
	Group, Name string
	Path        []byte
	Stamp       filestore.Stamp
	SHA1        []byte
	Size        int64
	Since       time.Time
	Withdrawn   string `json:",omitempty"`
}

// transferKey orders by user, then group, then file.
func transferKey(u protocol.UserID, g protocol.GroupID, f protocol.FileID) []byte {
	key := make([]byte, 0, len(u)+len(g)+len(f))
	key = append(key, u[:]...)
	key = append(key, g[:]...)
	return append(key, f[:]...)
}

func splitKey(key []byte) (u protocol.UserID, g protocol.GroupID, f protocol.FileID, ok bool) {
	if len(key) != len(u)+len(g)+len(f) {
		return u, g, f, false
	}
	copy(u[:], key)
	copy(g[:], key[len(u):])
	copy(f[:], key[len(u)+len(g):])
	return u, g, f, true
}

// Shares returns all shares of a user, in no order that means anything.
func (r *Records) Shares(u protocol.UserID) ([]Share, error) {
	var shares []Share
	err := r.each(bucketShares, u[:], func(key, payload []byte) error {
		var v storedShare
		user, group, file, ok := splitKey(key)
		if !ok || json.Unmarshal(payload, &v) != nil || len(v.SHA1) != len(protocol.SHA1{}) {
			return damagedRecord(bucketShares)
		}
		shares = append(shares, Share{
			User: user, Group: group, GroupNm: v.Group, File: file, Name: v.Name,
			Path: string(v.Path), Stamp: v.Stamp, SHA1: protocol.SHA1(v.SHA1), Size: v.Size,
			Since: v.Since, Withdrawn: v.Withdrawn,
		})
		return nil
	})
	return shares, err
}

// PutShare adds or replaces the share of (user, group, file).
func (r *Records) PutShare(s Share) error {
	return r.putJSON(bucketShares, transferKey(s.User, s.Group, s.File), stored(s))
}

func stored(s Share) storedShare {
	return storedShare{
		Group: s.GroupNm, Name: s.Name, Path: []byte(s.Path), Stamp: s.Stamp, SHA1: s.SHA1[:],
		Size: s.Size, Since: s.Since.Round(0), Withdrawn: s.Withdrawn,
	}
}
