package replica_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
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

// lacksManifests are two trackers, the second of which cannot store the manifests of the first.
func lacksManifests(t *testing.T) (nodes []*node, disk *tight, source *blobCalls, blobs map[protocol.FileID][]byte) {
	t.Helper()
	nodes = cluster(t, 2)
	source, disk = &blobCalls{Store: nodes[0].store}, &tight{Store: nodes[1].store}
	nodes[0].store, nodes[1].store = source, disk
	nodes[0].start(true)
	nodes[0].awaitReady()
	blobs = shareMany(t, nodes[0], 20)
	nodes[0].SetRoster(infos(nodes))
	nodes[1].start(false, nodes...)
	nodes[1].awaitReady()
	await(t, "a manifest does not fit", func() bool { return disk.tries.Load() > 0 })
	return nodes, disk, source, blobs
}

// A tracker without room for manifests takes the small changes for which there is
// room, and does not fetch the same manifests in every round.
func TestNoRoomForManifests(t *testing.T) {
	begun := time.Now()
	nodes, disk, source, blobs := lacksManifests(t)
	nd := nodes[1]
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
	nodes, disk, _, blobs := lacksManifests(t)
	nd := nodes[1]
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

// keys is a store that knows under how many names something is kept.
type keys struct {
	store.Store
	mu   sync.Mutex
	held map[string]bool
}

func (s *keys) Commit(b store.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range b.Put {
		s.held[r.Key] = true
	}
	for _, k := range b.Delete {
		delete(s.held, k)
	}
	for name, v := range b.Meta {
		s.held["meta "+name] = v != nil
	}
	for id := range b.Blobs {
		s.held["blob "+id.String()] = true
	}
	for _, id := range b.DeleteBlobs {
		delete(s.held, "blob "+id.String())
	}
	return s.Store.Commit(b)
}

func (s *keys) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// What is changed again and again takes the room of one change, here and at the
// tracker that confirms: nothing is kept of what was before, under any name.
func TestChangesTakeNoRoom(t *testing.T) {
	nodes := cluster(t, 2)
	var disks []*keys
	for _, nd := range nodes {
		disks = append(disks, &keys{Store: nd.store, held: map[string]bool{}})
		nd.store = disks[len(disks)-1]
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	var before []int
	for round := range 50 {
		for i := range 10 {
			nodes[i%2].must(func(*catalog.Catalog) []catalog.Draft {
				return catalog.SetDisabled(protocol.UserID{byte(i)}, round%2 == 0)
			})
		}
		if awaitEqual(t, nodes...); round > 0 {
			continue
		}
		for _, d := range disks {
			before = append(before, d.count())
		}
	}
	for i, d := range disks {
		if n := d.count(); n != before[i] || countRecords(t, nodes[i].store) != 10 || nodes[i].facts() != 10 {
			t.Errorf("tracker %d keeps %d things after 500 changes of 10 facts, %d after 10", i+1, n, before[i])
		}
	}
}

// What somebody waits for is not tried again and again either: a client that puts
// a manifest, and a tracker that wants one confirmed, are refused at once, and
// small changes beside that are taken, here and with a confirmation by this one.
func TestNoRoomForWhatIsWaitedFor(t *testing.T) {
	nodes, disk, _, _ := lacksManifests(t)
	other, nd := nodes[0], nodes[1]
	await(t, "small changes are taken again", func() bool {
		_, err := nd.register("ada", userID("ada"))
		return err == nil
	})
	openGroup(t, other)
	begun, tries := time.Now(), disk.tries.Load()
	for i := range 5 {
		m := manifest(t, fmt.Sprint("notes-", i))
		if err := nd.PutManifest(m.ID(), m.Encode()); codeOf(err) != protocol.CodeTrackerFull {
			t.Errorf("put a manifest: %v, want E_TRACKER_FULL", err)
		}
		if s := shareManifest(t, other, m); s.On != 1 {
			t.Errorf("a file whose manifest has room on one disk only is stored on %d", s.On)
		}
		if s, err := other.register(fmt.Sprint("user", i), protocol.UserID{9, byte(i)}); err != nil || s.On != 2 {
			t.Errorf("a small change beside it: on %d, %v, want 2", s.On, err)
		}
	}
	if time.Since(begun) > 5*time.Second {
		t.Skip("this machine is so slow that the next try was due")
	}
	if n := disk.tries.Load() - tries; n > 0 {
		t.Errorf("%d tries to store manifests within %v", n, time.Since(begun))
	}
}

// A share that is asked for again is stored where its manifest is stored, not
// wherever its facts are.
func TestRepeatedShareCountsTheManifest(t *testing.T) {
	nodes := cluster(t, 2)
	disk := &tight{Store: nodes[1].store}
	nodes[1].store = disk
	for _, nd := range nodes {
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	openGroup(t, nodes[0])
	m := manifest(t, "notes")
	if s := shareManifest(t, nodes[0], m); s.On != 1 {
		t.Fatalf("stored on %d, want 1", s.On)
	}
	awaitEqual(t, nodes...)
	for range 2 {
		if s := shareManifest(t, nodes[0], m); s.On != 1 {
			t.Errorf("again: stored on %d, want 1", s.On)
		}
	}
	disk.free.Store(true)
	nodes[1].RoomCame()
	await(t, "the manifest is on both disks", func() bool { return hasBlob(t, nodes[1], m.ID(), m.Encode()) })
	await(t, "that is known", func() bool { return shareManifest(t, nodes[0], m).On == 2 })
}

// openGroup makes the group that shareManifest shares in.
func openGroup(t *testing.T, nd *node) {
	t.Helper()
	owner := nd.mustRegister("owner")
	nd.must(func(*catalog.Catalog) []catalog.Draft { return catalog.NewGroup(groupID(1), "Club", owner) })
}

// shareManifest shares a file, unless it is shared already.
func shareManifest(t *testing.T, nd *node, m *protocol.Manifest) replica.Stored {
	t.Helper()
	s := catalog.Share{Group: groupID(1), File: m.ID(), User: userID("owner"), Peer: "12D3KooWLBcYgAfZEPFKa37gorhpE8ELQbho6oacGgP9GDdNvP8Y"}
	stored, err := nd.Propose(t.Context(), replica.Proposal{
		Blobs: map[protocol.FileID][]byte{m.ID(): m.Encode()},
		Build: func(c *catalog.Catalog) ([]catalog.Draft, error) {
			if c.IsShared(s) {
				return nil, nil
			}
			return c.ShareFile(s, m, int64(len(m.Encode()))), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// Nor do small changes that share a call with a share for which there is no room
// share its fate.
func TestNoRoomForOneOfTwo(t *testing.T) {
	nodes, _, _, _ := lacksManifests(t)
	other, nd := nodes[0], nodes[1]
	await(t, "small changes are taken again", func() bool {
		_, err := nd.register("ada", userID("ada"))
		return err == nil
	})
	openGroup(t, other)
	m := manifest(t, "notes")
	shareManifest(t, other, m)
	var big, small []catalog.Fact
	other.View(func(c *catalog.Catalog) {
		for f := range c.FactsUnder("") {
			if id, ok := catalog.BlobOf(f); ok && id == m.ID() {
				big = append(big, f)
			} else if strings.HasPrefix(string(f.Key), "user/") {
				small = append(small, f)
			}
		}
	})
	if len(big) == 0 || len(small) == 0 {
		t.Fatalf("%d facts with a manifest and %d without", len(big), len(small))
	}
	errs := other.StoreTogether(t.Context(), nd.id, big, small)
	if codeOf(errs[0]) != protocol.CodeTrackerFull || errs[1] != nil {
		t.Errorf("the share: %v, the small change: %v; want E_TRACKER_FULL for the first alone", errs[0], errs[1])
	}
}
