package rpc_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// heldStore lets the test end a commit, when and how it likes.
type heldStore struct {
	store.Store
	holds  atomic.Bool
	begun  chan struct{}
	answer chan error
}

func (h *heldStore) Commit(b store.Batch) error {
	if h.holds.CompareAndSwap(true, false) {
		close(h.begun)
		if err := <-h.answer; err != nil {
			return err
		}
	}
	return h.Store.Commit(b)
}

// What a call tells is on disk: a change is in no listing while its commit is
// under way, and never if the disk refuses it.
func TestReadsWaitForTheDisk(t *testing.T) {
	for name, outcome := range map[string]error{"stored": nil, "refused": errors.New("no space left on device")} {
		t.Run(name, func(t *testing.T) {
			held := &heldStore{begun: make(chan struct{}), answer: make(chan error)}
			w := newWorld(t, options{store: func(s store.Store) store.Store { held.Store = s; return held }})
			ada := w.user("ada")
			list := func() (groups int, err error) {
				r, err := tt.Do(ada, ada.At().ListGroups, &pb.ListGroupsRequest{})
				return len(r.GetGroups()), err
			}
			if n, err := list(); n != 0 || err != nil {
				t.Fatalf("%d groups, %v, before there is one", n, err)
			}
			held.holds.Store(true)
			created := make(chan error, 1)
			go func() {
				nonce := protocol.NewNonce()
				_, err := tt.Do(ada, ada.At().CreateGroup, &pb.CreateGroupRequest{Name: "lab", Nonce: nonce[:]})
				created <- err
			}()
			<-held.begun
			undone, shown := w.replica.Undone(), false
			w.replica.View(func(c *catalog.Catalog) { _, shown = c.GroupNamed("lab") })
			if !shown {
				t.Fatal("the catalog does not have what is being stored, so this shows nothing")
			}
			listed := make(chan struct{})
			var groups int
			var listErr error
			go func() { groups, listErr = list(); close(listed) }()
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if err := w.replica.OnDisk(ctx, undone); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("on disk during the commit: %v", err)
			}
			select {
			case <-listed:
				t.Errorf("%d groups, %v, were told during the commit", groups, listErr)
			default:
			}
			held.answer <- outcome
			<-listed
			err := <-created
			if outcome == nil {
				if err != nil || listErr != nil || groups != 1 {
					t.Errorf("create: %v; %d groups, %v", err, groups, listErr)
				}
				return
			}
			if protocol.CodeOf(err) != protocol.CodeTrackerFull {
				t.Errorf("create: %v", err)
			}
			if groups != 0 || listErr != nil && protocol.CodeOf(listErr) != protocol.CodeBusy {
				t.Errorf("%d groups, %v, of a change that was refused", groups, listErr)
			}
			if err := w.replica.OnDisk(t.Context(), undone); protocol.CodeOf(err) != protocol.CodeBusy {
				t.Errorf("on disk what the disk refused: %v", err)
			}
			if n, err := list(); n != 0 || err != nil {
				t.Errorf("%d groups, %v, while the disk is full", n, err)
			}
		})
	}
}
