package replica_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// TestSimultaneousClaims has all trackers claim one name at the same time.
func TestSimultaneousClaims(t *testing.T) {
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprintf("%d trackers", n), func(t *testing.T) {
			nodes := running(t, n)
			for round := range 50 {
				name := fmt.Sprintf("name%d", round)
				errs := make([]error, n)
				begin := make(chan struct{})
				var wg sync.WaitGroup
				for i, nd := range nodes {
					wg.Go(func() {
						<-begin
						_, errs[i] = nd.register(name, protocol.UserID{byte(round), byte(i), 1})
					})
				}
				close(begin)
				wg.Wait()
				won := 0
				for _, err := range errs {
					switch codeOf(err) {
					case "":
						won++
					case protocol.CodeExists:
					default:
						t.Fatalf("round %d: %v", round, err)
					}
				}
				if won != 1 {
					t.Fatalf("round %d: %d of %d claims were granted: %v", round, won, n, errs)
				}
			}
			awaitEqual(t, nodes...)
			// Three facts for each granted account; of the refused ones nothing.
			for i, nd := range nodes {
				if nd.facts() != 150 || countRecords(t, nd.store) != 150 {
					t.Errorf("tracker %d holds %d facts, stores %d, want 150", i+1, nd.facts(), countRecords(t, nd.store))
				}
			}
		})
	}
}

func TestRefusedNameIsFreeAgain(t *testing.T) {
	nodes := running(t, 2)
	nodes[0].mustRegister("ada")
	if _, err := nodes[1].register("ada", userID("other")); codeOf(err) != protocol.CodeExists {
		t.Fatalf("a taken name: %v, want E_EXISTS", err)
	}
	// A claim that fails behind its reservation gives the name back at once.
	runs := 0
	_, err := nodes[0].propose(func(*catalog.Catalog) ([]catalog.Draft, error) {
		if runs++; runs > 1 {
			return nil, &protocol.Error{Code: protocol.CodeLimit, Msg: "no more"}
		}
		return catalog.NewAccount(userID("x"), "bob", "$x"), nil
	})
	if codeOf(err) != protocol.CodeLimit || runs != 2 {
		t.Fatalf("err %v after %d runs of Build, want E_LIMIT after 2", err, runs)
	}
	begun := time.Now()
	await(t, "the name is free", func() bool {
		_, err := nodes[1].register("bob", userID("bob"))
		return err == nil
	})
	if time.Since(begun) > protocol.ReserveLife/2 {
		t.Errorf("the name was free after %v only: its reservation ran out", time.Since(begun))
	}
}

func TestManyAtOnce(t *testing.T) {
	nodes := running(t, 3)
	var wg sync.WaitGroup
	for i := range 120 {
		wg.Go(func() {
			name := fmt.Sprintf("user%d", i)
			if s, err := nodes[i%3].register(name, userID(name)); err != nil || s.On != 2 {
				t.Errorf("register %s: %+v, %v, want on 2", name, s, err)
			}
		})
	}
	wg.Wait()
	awaitEqual(t, nodes...)
	if nodes[0].facts() != 360 {
		t.Errorf("%d facts, want 360", nodes[0].facts())
	}
}

// TestLateTracker has a tracker that answers nothing: the first write waits the
// cap, the next ones do not.
func TestLateTracker(t *testing.T) {
	t.Parallel()
	nodes := cluster(t, 2)
	for _, nd := range nodes {
		nd.config = func(c *replica.Config) { c.Interval = time.Hour }
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	nodes[1].host.SetStreamHandler(protocol.SyncProtocol, func(s network.Stream) {
		<-t.Context().Done()
		_ = s.Reset()
	})
	begun := time.Now()
	s := nodes[0].must(func(*catalog.Catalog) []catalog.Draft { return catalog.SetDisabled(userID("a"), true) })
	if waited := time.Since(begun); s.On != 1 || waited < protocol.ConfirmTimeout || waited > 2*protocol.ConfirmTimeout {
		t.Errorf("on %d after %v, want on 1 after %v", s.On, waited, protocol.ConfirmTimeout)
	}
	begun = time.Now()
	s = nodes[0].must(func(*catalog.Catalog) []catalog.Draft { return catalog.SetDisabled(userID("b"), true) })
	if waited := time.Since(begun); s.On != 1 || waited > protocol.ConfirmTimeout/2 {
		t.Errorf("on %d after %v: a tracker that missed the cap is waited for again", s.On, waited)
	}
	nodes[0].mustRegister("ada") // and names can still be claimed
}

// Of changes that are confirmed together one names a manifest that nobody has.
func TestConfirmationsDoNotShareTheirFate(t *testing.T) {
	nodes := running(t, 2)
	m := manifest(t, "lost.bin")
	share := catalog.Share{Group: groupID(1), File: m.ID(), User: userID("ada"), Peer: "p"}
	nodes[0].must(func(c *catalog.Catalog) []catalog.Draft { return c.ShareFile(share, m, 100) })
	for i := range 4 {
		nodes[0].mustRegister(fmt.Sprint("user", i))
	}
	var changes [][]catalog.Fact
	bad := -1
	nodes[0].View(func(c *catalog.Catalog) {
		for f := range c.FactsUnder("") {
			if _, names := catalog.BlobOf(f); names {
				bad = len(changes)
			}
			changes = append(changes, []catalog.Fact{f})
		}
	})
	for i, err := range nodes[0].StoreTogether(t.Context(), nodes[1].id, changes...) {
		if (err != nil) != (i == bad) {
			t.Errorf("change %d of %d: %v; the one without its manifest is %d", i, len(changes), err, bad)
		}
	}
}

// commits counts those of a store.
type commits struct {
	store.Store
	n atomic.Int64
}

func (c *commits) Commit(b store.Batch) error {
	c.n.Add(1)
	return c.Store.Commit(b)
}

// Many manifests that come with one confirmation take a few commits.
func TestManifestsOfAConfirmationShareCommits(t *testing.T) {
	nodes := cluster(t, 2)
	disk := &commits{Store: nodes[1].store}
	nodes[1].store = disk
	for _, nd := range nodes {
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	const files = 40
	blobs := map[protocol.FileID][]byte{}
	var all []*protocol.Manifest
	for i := range files {
		m := manifest(t, fmt.Sprint("file", i))
		blobs[m.ID()], all = m.Encode(), append(all, m)
	}
	before := disk.n.Load()
	s, err := nodes[0].Propose(t.Context(), replica.Proposal{Blobs: blobs, Build: func(c *catalog.Catalog) (ds []catalog.Draft, _ error) {
		for _, m := range all {
			share := catalog.Share{Group: groupID(1), File: m.ID(), User: userID("ada"), Peer: "p"}
			ds = append(ds, c.ShareFile(share, m, 100)...)
		}
		return ds, nil
	}})
	if err != nil || s.On != 2 {
		t.Fatalf("%+v, %v, want it on 2", s, err)
	}
	if n := disk.n.Load() - before; n >= files/2 {
		t.Errorf("the other tracker took %d commits for %d manifests", n, files)
	}
	for id := range blobs {
		if ok, err := nodes[1].HasManifest(id); !ok || err != nil {
			t.Errorf("a manifest is missing: %v, %v", ok, err)
		}
	}
}

// slowOnce is a store that takes its time over the commit that has a name in it.
type slowOnce struct {
	store.Store
	name string
	busy chan struct{} // closed when it begins
	end  chan struct{}
	once sync.Once
}

func (s *slowOnce) Commit(b store.Batch) error {
	for _, r := range b.Put {
		if strings.HasPrefix(r.Key, "name/user/"+s.name+"/") {
			s.once.Do(func() {
				close(s.busy)
				<-s.end
			})
		}
	}
	return s.Store.Commit(b)
}

// A disk takes longer over a change than a reservation lives: the name stays
// reserved at the tracker that others ask first.
func TestReservationOutlivesASlowDisk(t *testing.T) {
	t.Parallel()
	nodes := cluster(t, 3)
	disk := &slowOnce{Store: nodes[0].store, busy: make(chan struct{}), end: make(chan struct{})}
	nodes[0].store = disk
	for _, nd := range nodes {
		nd.start(true, nodes...)
	}
	awaitConnected(t, nodes...)
	disk.name = nameRankedFirst(nodes[2], nodes[0], nodes[1])
	first := make(chan error, 1)
	go func() {
		_, err := nodes[0].register(disk.name, protocol.UserID{1})
		first <- err
	}()
	<-disk.busy
	time.Sleep(protocol.ReserveLife + protocol.ReserveLife/5)
	_, err := nodes[1].register(disk.name, protocol.UserID{2})
	close(disk.end)
	if codeOf(err) != protocol.CodeExists {
		t.Errorf("the second claim while the first is being stored: %v, want E_EXISTS", err)
	}
	if err := <-first; err != nil {
		t.Errorf("the first claim: %v", err)
	}
}

// nameRankedFirst is a name that is reserved at one tracker before all others.
func nameRankedFirst(at *node, others ...*node) string {
	for i := 0; ; i++ {
		name := fmt.Sprint("ada-", i)
		claim := catalog.NameClaims(catalog.NewAccount(protocol.UserID{1}, name, "$x"))[0]
		if !slices.ContainsFunc(others, func(o *node) bool {
			return bytes.Compare(replica.Rank(claim, o.id.String()), replica.Rank(claim, at.id.String())) > 0
		}) {
			return name
		}
	}
}
