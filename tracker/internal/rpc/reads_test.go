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

// newHeldWorld is a tracker over a store that the test may hold.
func newHeldWorld(t *testing.T) (*world, *heldStore) {
	t.Helper()
	held := &heldStore{begun: make(chan struct{}), answer: make(chan error)}
	return newWorld(t, options{store: func(s store.Store) store.Store { held.Store = s; return held }}), held
}

// during begins a change and returns when its commit is under way; what comes
// of the change is sent later.
func (h *heldStore) during(change func() error) <-chan error {
	h.holds.Store(true)
	done := make(chan error, 1)
	go func() { done <- change() }()
	<-h.begun
	return done
}

// What a call tells is on disk: a change is in no listing while its commit is
// under way, and never if the disk refuses it.
func TestReadsWaitForTheDisk(t *testing.T) {
	for name, outcome := range map[string]error{"stored": nil, "refused": errors.New("no space left on device")} {
		t.Run(name, func(t *testing.T) {
			w, held := newHeldWorld(t)
			ada := w.user("ada")
			list := func() (groups int, err error) {
				g, err := ada.Groups()
				return len(g), err
			}
			if n, err := list(); n != 0 || err != nil {
				t.Fatalf("%d groups, %v, before there is one", n, err)
			}
			created := held.during(func() error {
				_, err := tt.Do(ada, ada.At().CreateGroup, &pb.CreateGroupRequest{Name: "lab", Nonce: tt.Nonce()})
				return err
			})
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

// The present state with which a stream of events begins is on disk as well.
func TestEventsWaitForTheDisk(t *testing.T) {
	for name, outcome := range map[string]error{"stored": nil, "refused": errors.New("no space left on device")} {
		t.Run(name, func(t *testing.T) {
			w, held := newHeldWorld(t)
			ada := w.user("ada")
			created := held.during(func() error {
				_, err := tt.Do(ada, ada.At().CreateGroup, &pb.CreateGroupRequest{Name: "lab", Nonce: tt.Nonce()})
				return err
			})
			events := ada.StartAttach()
			await(t, "the stream is registered", func() bool { return w.server.Streams() == 1 })
			time.Sleep(50 * time.Millisecond)
			if seen := events.Seen(); len(seen) > 0 {
				t.Errorf("told during the commit: %v", seen)
			}
			held.answer <- outcome
			<-created
			if outcome == nil {
				events.Expect("of the group", func(e *pb.Event) bool { return e.GetGroupState().GetName() == "lab" })
				return
			}
			wantCode(t, "a stream that has seen what the disk refused", events.Err(), protocol.CodeBusy)
			again := ada.Attach()
			for _, e := range append(events.Seen(), again.Seen()...) {
				if e.GetGroupState() != nil {
					t.Errorf("told of a group that is not: %v", e)
				}
			}
		})
	}
}

// A refusal of a call that reads waits for the disk as its answer does.
func TestRefusedReadsWaitForTheDisk(t *testing.T) {
	w, held := newHeldWorld(t)
	ada, bob, _ := pair(w)
	members := func() error {
		_, err := tt.Do(bob, bob.At().ListMembers, &pb.GroupRequest{Group: tt.Group("g")})
		return err
	}
	if err := members(); err != nil {
		t.Fatal(err)
	}
	left := held.during(func() error { return ada.Remove("g", "bob") })
	listed := make(chan error, 1)
	go func() { listed <- members() }()
	select {
	case err := <-listed:
		t.Errorf("answered during the commit: %v", err)
		listed <- err
	case <-time.After(100 * time.Millisecond):
	}
	held.answer <- errors.New("no space left on device")
	wantCode(t, "the removal", <-left, protocol.CodeTrackerFull)
	wantCode(t, "who sees a removal that is refused", <-listed, protocol.CodeBusy)
	wantCode(t, "the member", members(), "")
}
