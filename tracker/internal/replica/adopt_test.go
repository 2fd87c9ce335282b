package replica_test

import (
	"bytes"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
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
