package records

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/protocol"
)

// Download is a download that is not finished, or was.
type Download struct {
	User    protocol.UserID
	Group   protocol.GroupID
	GroupNm string
	File    protocol.FileID
	Name    string
	// Uploader is the user under whose name the group had the file, as a tracker
	// told; empty if it did not.
	Uploader string
	Target   filestore.Target
	State    string // active, paused, complete, failed
	Path     string // when complete
	Code     protocol.Code
	Reason   string
	Size     int64
	SHA1     protocol.SHA1
	Added    time.Time
	Repairs  int // how often it was complete and the disk had lost some of it
	// Unchecked is of a finished file of which it is not known yet what came of
	// the writes; zero once it is.
	Unchecked filestore.Stamp
}

// storedDownload is the value of a Download. Paths are bytes: not every one is UTF-8.
type storedDownload struct {
	Group, Name       string
	Uploader          string `json:",omitempty"`
	Dir, Target, Part []byte
	Folder            uint64 `json:",omitempty"`
	State             string
	Path              []byte        `json:",omitempty"`
	Code              protocol.Code `json:",omitempty"`
	Reason            string        `json:",omitempty"`
	Size              int64
	SHA1              []byte
	Added             time.Time
	Repairs           int             `json:",omitempty"`
	Unchecked         filestore.Stamp `json:",omitzero"`
}

// Downloads returns all downloads of a user, oldest first.
func (r *Records) Downloads(u protocol.UserID) ([]Download, error) {
	var downloads []Download
	err := r.each(bucketDownloads, u[:], func(key, payload []byte) error {
		var v storedDownload
		user, group, file, ok := splitKey(key)
		if !ok || json.Unmarshal(payload, &v) != nil || len(v.SHA1) != len(protocol.SHA1{}) {
			return damagedRecord(bucketDownloads)
		}
		downloads = append(downloads, Download{
			User: user, Group: group, GroupNm: v.Group, File: file, Name: v.Name, Uploader: v.Uploader,
			Target: filestore.Target{Dir: string(v.Dir), Name: string(v.Target), Part: string(v.Part), Folder: v.Folder},
			State:  v.State, Path: string(v.Path), Code: v.Code, Reason: v.Reason,
			Size: v.Size, SHA1: protocol.SHA1(v.SHA1), Added: v.Added, Repairs: v.Repairs, Unchecked: v.Unchecked,
		})
		return nil
	})
	slices.SortStableFunc(downloads, func(a, b Download) int { return a.Added.Compare(b.Added) })
	return downloads, err
}

// PutDownload adds or replaces the download of (user, group, file).
func (r *Records) PutDownload(d Download) error {
	return r.putJSON(bucketDownloads, transferKey(d.User, d.Group, d.File), storedDownload{
		Group: d.GroupNm, Name: d.Name, Uploader: d.Uploader, Dir: []byte(d.Target.Dir), Target: []byte(d.Target.Name), Part: []byte(d.Target.Part), Folder: d.Target.Folder,
		State: d.State, Path: []byte(d.Path), Code: d.Code, Reason: d.Reason,
		Size: d.Size, SHA1: d.SHA1[:], Added: d.Added.Round(0), Repairs: d.Repairs, Unchecked: d.Unchecked,
	})
}

// DeleteDownload forgets it and its journal.
func (r *Records) DeleteDownload(u protocol.UserID, g protocol.GroupID, f protocol.FileID) error {
	key := transferKey(u, g, f)
	return r.update(func(tx *bbolt.Tx) error {
		if err := tx.Bucket([]byte(bucketJournals)).Delete(key); err != nil {
			return err
		}
		return tx.Bucket([]byte(bucketDownloads)).Delete(key)
	})
}

// Journal returns the journal of a download.
func (r *Records) Journal(u protocol.UserID, g protocol.GroupID, f protocol.FileID) filestore.Journal {
	return &journal{records: r, key: transferKey(u, g, f)}
}

type journal struct {
	records *Records
	key     []byte
}

// Load returns what was saved last, nil if nothing was. E_STATE if it is damaged.
func (j *journal) Load() (bits []byte, err error) { return j.records.get(bucketJournals, j.key) }

// Save replaces it.
func (j *journal) Save(bits []byte) error { return j.records.put(bucketJournals, j.key, bits) }

// Manifest returns the encoded manifest of a file kept here, nil if it is not.
func (r *Records) Manifest(f protocol.FileID) ([]byte, error) { return r.get(bucketManifests, f[:]) }

// PutManifest keeps one, at least until the file is neither a share nor a
// download when the records are opened.
func (r *Records) PutManifest(f protocol.FileID, encoded []byte) error {
	return r.put(bucketManifests, f[:], encoded)
}

// dropManifests forgets those that no share and no download needs. It writes
// only if there are such, so that a client starts on a full disk too.
func (r *Records) dropManifests() error {
	needed := map[protocol.FileID]bool{}
	note := func(key, _ []byte) error {
		_, _, file, _ := splitKey(key)
		needed[file] = true
		return nil
	}
	var idle [][]byte
	err := errors.Join(r.each(bucketShares, nil, note), r.each(bucketDownloads, nil, note),
		r.each(bucketManifests, nil, func(key, _ []byte) error {
			if id, err := protocol.IDFromBytes[protocol.FileID](key); err != nil || !needed[id] {
				idle = append(idle, slices.Clone(key))
			}
			return nil
		}))
	if err != nil || len(idle) == 0 {
		return err
	}
	err = r.update(func(tx *bbolt.Tx) error {
		for _, key := range idle {
			if err := tx.Bucket([]byte(bucketManifests)).Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		log.Infow("manifests that nobody needs stay for now", "count", len(idle), "err", err)
	}
	return nil
}
