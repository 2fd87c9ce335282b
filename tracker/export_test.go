package tracker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// Fill writes at least n facts as they are of many users who share files, a
// third of each file, share and name, with the manifests.
func Fill(ctx context.Context, t *Tracker, n int) error {
	const atOnce = 300 // files
	group, peer := protocol.GroupID{1}, "12D3KooWLBcYgAfZEPFKa37gorhpE8ELQbho6oacGgP9GDdNvP8Y"
	for begin := 0; begin < n/3; begin += atOnce {
		blobs := map[protocol.FileID][]byte{}
		_, err := t.replica.Propose(ctx, replica.Proposal{Blobs: blobs, Build: func(c *catalog.Catalog) (out []catalog.Draft, err error) {
			for i := range atOnce {
				name := fmt.Sprintf("file-%07d.bin", begin+i)
				m := &protocol.Manifest{Name: name, Size: 1, PieceLength: protocol.MinPieceLength, Pieces: make([]protocol.PieceHash, 1)}
				blob := m.Encode()
				id := protocol.ManifestID(blob)
				blobs[id] = blob
				s := catalog.Share{
					Group: group, File: id, User: protocol.UserID{byte(begin / atOnce), byte(begin / atOnce >> 8), 1}, Peer: peer,
				}
				out = append(out, c.ShareFile(s, m, int64(len(blob)))...)
			}
			return out, nil
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// Facts returns how many facts a tracker holds.
func Facts(t *Tracker) (n int) {
	t.replica.View(func(c *catalog.Catalog) { n = c.Len() })
	return n
}

// Manifests returns how many manifests a tracker holds.
func Manifests(t *Tracker) (n int, err error) {
	err = t.store.BlobIDs(func(protocol.FileID) error { n++; return nil })
	return n, err
}

// Update makes so many changes of that many facts, 16 at a time.
func Update(ctx context.Context, t *Tracker, facts, updates int) error {
	var left atomic.Int64
	left.Store(int64(updates))
	const writers = 16
	errs := make(chan error, writers)
	for range writers {
		go func() {
			errs <- func() error {
				for n := left.Add(-1); n >= 0; n = left.Add(-1) {
					id := protocol.UserID{byte(n % int64(facts)), 2}
					_, err := t.replica.Propose(ctx, replica.Proposal{Build: func(*catalog.Catalog) ([]catalog.Draft, error) {
						return catalog.SetDisabled(id, n/int64(facts)%2 == 0), nil
					}})
					if err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	var all []error
	for range writers {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// Records returns how many facts a tracker has on disk.
func Records(t *Tracker) (n int, err error) {
	err = t.store.Records(func(store.Record) error { n++; return nil })
	return n, err
}

// Root returns the digest of all that a tracker holds.
func Root(t *Tracker) (d catalog.Digest) {
	t.replica.View(func(c *catalog.Catalog) { d = c.Root().Digest })
	return d
}
