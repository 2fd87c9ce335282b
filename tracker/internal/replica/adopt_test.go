package replica_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// heldStore is a store whose commits wait for a word.
type heldStore struct {
	store.Store
	begun, release chan struct{}
}

func (h *heldStore) Commit(b store.Batch) error {
	h.begun <- struct{}{}
	<-h.release
	return h.Store.Commit(b)
}

// A blank tracker meets two networks at once: it is of one of them, in memory
// and on disk.
func TestTwoNetworksAtOnce(t *testing.T) {
	one, two := protocol.NetworkID{1}, protocol.NetworkID{2}
	tests := []struct {
		name  string
		first func(*node) error // is being stored while the other changes come
		then  []protocol.NetworkID
	}{
		{"in one commit", func(nd *node) error { return nd.Note(nd.t.Context(), "test") }, []protocol.NetworkID{one, two}},
		{"one after the other", func(nd *node) error { return nd.Adopt(nd.t.Context(), one) }, []protocol.NetworkID{two}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			nd := cluster(t, 1)[0]
			disk := &heldStore{nd.store, make(chan struct{}, 10), make(chan struct{})}
			nd.store = disk
			nd.start(false)
			errs := make(chan error, 1+len(test.then))
			go func() { errs <- test.first(nd) }()
			<-disk.begun
			for i, id := range test.then {
				go func() { errs <- nd.Adopt(t.Context(), id) }()
				await(t, "it waits for the writer", func() bool { return nd.Queued() == i+1 })
			}
			close(disk.release)
			refused := 0
			for range cap(errs) {
				if err := <-errs; err != nil {
					refused++
				}
			}
			stored, err := disk.Meta("network")
			if id := nd.Network(); err != nil || id != one || !bytes.Equal(stored, one[:]) || refused != 1 {
				t.Errorf("in memory %v, on disk %x, %d refused, %v; want the first, and the other refused", id, stored, refused, err)
			}
		})
	}
}

// A tracker marked as new that was killed while it caught up for the first time
// has some facts and no network. While nobody else is there it begins none.
func TestPartOfACatalogIsNotBegun(t *testing.T) {
	nodes := cluster(t, 2)
	nodes[0].start(true)
	nodes[0].awaitReady()
	for _, name := range []string{"ada", "bob", "cleo", "dora"} {
		nodes[0].mustRegister(name)
	}
	var part store.Batch
	err := nodes[0].store.Records(func(r store.Record) error {
		if len(part.Put) < 6 {
			part.Put = append(part.Put, store.Record{Key: r.Key, Value: bytes.Clone(r.Value)})
		}
		return nil
	})
	if err == nil {
		err = nodes[1].store.Commit(part)
	}
	if err != nil {
		t.Fatal(err)
	}
	nodes[0].stop()
	nodes[1].start(true, nodes...)
	if nodes[1].MayBegin(time.Now().Add(-time.Hour)) {
		t.Error("a network is begun with a part of a catalog")
	}
	if err := nodes[1].Serving(); codeOf(err) != protocol.CodeBusy {
		t.Errorf("serving: %v, want E_BUSY", err)
	}
	nodes[0].start(false, nodes...)
	nodes[1].awaitReady()
	awaitEqual(t, nodes...)
}

// What another exchange was about to store counts as known while this one
// compares. If the disk then refuses it, this one has not brought all there is,
// and the tracker stays blank until one has.
func TestNothingIsLostBeforeTheNetwork(t *testing.T) {
	nd := cluster(t, 1)[0]
	disk := &faulty{Store: nd.store}
	nd.store = disk
	nd.start(false)
	before := nd.Undone()
	disk.set(true)
	if err := nd.Note(t.Context(), "test"); err == nil {
		t.Fatal("the disk takes it")
	}
	disk.set(false)
	await(t, "the disk takes changes again", func() bool { return nd.Note(t.Context(), "test") == nil })
	if err := nd.AdoptSince(t.Context(), protocol.NetworkID{1}, before); err == nil || !nd.Network().IsZero() {
		t.Errorf("part of %v with what was lost meanwhile, %v", nd.Network(), err)
	}
	if err := nd.Adopt(t.Context(), protocol.NetworkID{1}); err != nil {
		t.Errorf("after another exchange: %v", err)
	}
}

// A tracker that would begin a network, and whose disk is full, begins none that
// it has heard of meanwhile.
func TestBeginsNothingLate(t *testing.T) {
	t.Parallel()
	nodes := cluster(t, 2)
	old, young := nodes[0], nodes[1]
	full := &faulty{Store: young.store}
	full.set(true)
	young.store = full
	young.config = func(c *replica.Config) { c.NewNetwork, c.BeginAfter = protocol.NetworkID{2}, time.Millisecond }
	young.start(false, nodes...)
	await(t, "it has tried to begin", func() bool {
		full.mu.Lock()
		defer full.mu.Unlock()
		return full.no > 0
	})
	old.config = func(c *replica.Config) { c.NewNetwork = protocol.NetworkID{1} }
	old.start(false, nodes...)
	await(t, "the other network is there", func() bool { return !old.Network().IsZero() && young.standing(old) == replica.Waits })
	full.set(false)
	young.awaitReady()
	if young.Network() != old.Network() {
		t.Errorf("it is part of %v, the other one of %v", young.Network(), old.Network())
	}
}
