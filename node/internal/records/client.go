package records

import (
	"go.etcd.io/bbolt"

	"github.com/p2pshare/p2pshare/protocol"
)

// Session is a login that goes on after a restart.
type Session struct {
	Envelope []byte
	User     protocol.UserID
	Name     string
	Network  protocol.NetworkID
}

type storedSession struct {
	Envelope      []byte
	User, Network []byte
	Name          string
}

// Session returns the stored session, nil if there is none.
func (r *Records) Session() (*Session, error) {
	var v storedSession
	if ok, err := r.getJSON(bucketClient, []byte(sessionKey), &v); !ok {
		return nil, err
	}
	user, err := protocol.IDFromBytes[protocol.UserID](v.User)
	if err != nil {
		return nil, damagedRecord(bucketClient)
	}
	network, err := protocol.IDFromBytes[protocol.NetworkID](v.Network)
	if err != nil {
		return nil, damagedRecord(bucketClient)
	}
	return &Session{Envelope: v.Envelope, User: user, Name: v.Name, Network: network}, nil
}

// SetSession replaces it; nil forgets it.
func (r *Records) SetSession(s *Session) error {
	if s == nil {
		return r.update(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(bucketClient)).Delete([]byte(sessionKey))
		})
	}
	return r.putJSON(bucketClient, []byte(sessionKey), storedSession{Envelope: s.Envelope, User: s.User[:], Name: s.Name, Network: s.Network[:]})
}

// Pending returns sessions that were logged out here but not yet at a tracker.
func (r *Records) Pending() (envelopes [][]byte, err error) {
	_, err = r.getJSON(bucketClient, []byte(pendingKey), &envelopes)
	return envelopes, err
}

// SetPending replaces them.
func (r *Records) SetPending(envelopes [][]byte) error {
	return r.putJSON(bucketClient, []byte(pendingKey), envelopes)
}

// Learned returns the trackers that listed ones told of: peer ID to multiaddrs.
func (r *Records) Learned() (map[string][]string, error) {
	var learned map[string][]string
	_, err := r.getJSON(bucketClient, []byte(learnedKey), &learned)
	if learned == nil {
		learned = map[string][]string{}
	}
	return learned, err
}

// SetLearned replaces them.
func (r *Records) SetLearned(m map[string][]string) error {
	return r.putJSON(bucketClient, []byte(learnedKey), m)
}
