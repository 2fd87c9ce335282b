package replica_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// slowBlobs is a store that has begun to read manifests, and never comes to an end
// before it is told.
type slowBlobs struct {
	store.Store
	reading atomic.Int32
	end     chan struct{}
}

func (s *slowBlobs) BlobRange(id protocol.FileID, offset int64, n int) ([]byte, int64, bool, error) {
	s.reading.Add(1)
	<-s.end
	return s.Store.BlobRange(id, offset, n)
}

// Manifests that are slow to come from a tracker take no place of what must be
// quick: both trackers hear of a name before it is granted, and store it.
func TestSlowManifestsHoldUpNoName(t *testing.T) {
	nodes := cluster(t, 2)
	slow := &slowBlobs{Store: nodes[1].store, end: make(chan struct{})}
	nodes[1].store = slow
	for _, nd := range nodes {
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer close(slow.end)
	for i := range 40 {
		wg.Go(func() { _, _ = nodes[0].Manifest(ctx, protocol.FileID{byte(i + 1)}) })
	}
	await(t, "manifests are read", func() bool { return slow.reading.Load() >= 8 })
	time.Sleep(100 * time.Millisecond) // as many as there are places for
	for i, name := range []string{"ada", "bob", "cleo", "dan"} {
		s, err := nodes[0].register(name, protocol.UserID{7, byte(i)})
		if err != nil || s.On != 2 {
			t.Errorf("%s: stored on %d trackers, %v; want 2", name, s.On, err)
		}
	}
}
