package replica_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// tight is a store with room for facts and none for manifests, or for nothing.
type tight struct {
	store.Store
	full, free atomic.Bool
	tries      atomic.Int64 // commits with manifests that were refused
	probes     atomic.Int64 // others that were
}

func (s *tight) Commit(b store.Batch) error {
	switch {
	case s.free.Load():
	case len(b.Blobs) > 0:
		s.tries.Add(1)
		return errNoSpace
	case s.full.Load():
		s.probes.Add(1)
		return errNoSpace
	}
	return s.Store.Commit(b)
}

// lacksManifests is a tracker that cannot store the manifests of another one.
func lacksManifests(t *testing.T) (nd *node, disk *tight, source *blobCalls, blobs map[protocol.FileID][]byte) {
	t.Helper()
	nodes := cluster(t, 2)
	source, disk = &blobCalls{Store: nodes[0].store}, &tight{Store: nodes[1].store}
	nodes[0].store, nodes[1].store = source, disk
	nodes[0].start(true)
	nodes[0].awaitReady()
	blobs = shareMany(t, nodes[0], 20)
	nodes[0].SetRoster(infos(nodes))
	nodes[1].start(false, nodes...)
	nodes[1].awaitReady()
	await(t, "a manifest does not fit", func() bool { return disk.tries.Load() > 0 })
	return nodes[1], disk, source, blobs
}

// A tracker without room for manifests takes the small changes for which there is
// room, and does not fetch the same manifests in every round.
func TestNoRoomForManifests(t *testing.T) {
	begun := time.Now()
	nd, disk, source, blobs := lacksManifests(t)
	await(t, "small changes are taken again", func() bool {
		_, err := nd.register("ada", userID("ada"))
		return err == nil
	})
	refused := 0
	for i := range 12 {
		time.Sleep(100 * time.Millisecond) // a round
		if _, err := nd.register(fmt.Sprint("user", i), protocol.UserID{9, byte(i)}); err != nil {
			refused++
		}
	}
	if time.Since(begun) > 9*time.Second {
		t.Skip("this machine is so slow that the next try was due")
	}
	if refused > 0 || disk.tries.Load() > 4 || source.n.Load() > int64(len(blobs)) {
		t.Errorf("%d of 12 small changes were refused; %d tries to store manifests, %d calls for %d of them",
			refused, disk.tries.Load(), source.n.Load(), len(blobs))
	}
}

// Once there is room on a disk that was full, manifests are fetched at once.
func TestRoomForManifestsComes(t *testing.T) {
	nd, disk, _, blobs := lacksManifests(t)
	disk.full.Store(true)
	if _, err := nd.register("ada", userID("ada")); codeOf(err) != protocol.CodeTrackerFull {
		await(t, "the disk is full", func() bool {
			_, err := nd.register("bob", userID("bob"))
			return codeOf(err) == protocol.CodeTrackerFull
		})
	}
	probes := disk.probes.Load()
	await(t, "the disk is looked at", func() bool { return disk.probes.Load() > probes })
	disk.free.Store(true)
	for id, want := range blobs {
		await(t, "all manifests are there", func() bool { return hasBlob(t, nd, id, want) })
	}
}
