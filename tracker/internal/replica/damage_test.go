package replica_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// rotten is a store that comes upon damage at a call that is chosen.
type rotten struct {
	store.Store
	mu sync.Mutex
	at string
}

func (s *rotten) rotAt(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = call
}

func (s *rotten) good(call string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == call {
		return protocol.Errorf(protocol.CodeState, "the catalog /srv/secret/catalog.db is damaged")
	}
	return nil
}

func (s *rotten) Commit(b store.Batch) error {
	if err := s.good("Commit"); err != nil {
		return err
	}
	if s.good("Records") != nil {
		return errNoSpace // so that the catalog is read again
	}
	return s.Store.Commit(b)
}

func (s *rotten) Records(f func(store.Record) error) error {
	if err := s.good("Records"); err != nil {
		return err
	}
	return s.Store.Records(f)
}

func (s *rotten) Blob(id protocol.FileID) ([]byte, bool, error) {
	if err := s.good("Blob"); err != nil {
		return nil, false, err
	}
	return s.Store.Blob(id)
}

func (s *rotten) BlobRange(id protocol.FileID, offset int64, n int) ([]byte, int64, bool, error) {
	if err := s.good("BlobRange"); err != nil {
		return nil, 0, false, err
	}
	return s.Store.BlobRange(id, offset, n)
}

func (s *rotten) HasBlob(id protocol.FileID) (bool, error) {
	if err := s.good("HasBlob"); err != nil {
		return false, err
	}
	return s.Store.HasBlob(id)
}

func (s *rotten) BlobIDs(f func(protocol.FileID) error) error {
	if err := s.good("BlobIDs"); err != nil {
		return err
	}
	return s.Store.BlobIDs(f)
}

// Whatever comes upon damage in the store, the tracker ends with E_STATE, and who
// asked, or asks afterwards, is sent to another one and hears nothing of paths.
func TestDamageEndsTheTracker(t *testing.T) {
	t.Parallel()
	id := protocol.FileID{1}
	register := func(nd *node) error { _, err := nd.register("bob", userID("bob")); return err }
	for call, use := range map[string]func(*node) error{
		"Commit":    register,
		"Records":   register,
		"Blob":      func(nd *node) error { _, err := nd.Manifest(t.Context(), id); return err },
		"BlobRange": func(nd *node) error { _, _, _, err := nd.ManifestPart(id, 0, 10); return err },
		"HasBlob":   func(nd *node) error { _, err := nd.HasManifest(id); return err },
		"BlobIDs":   func(nd *node) error { return nd.SweepAfter(time.Hour, func() {}, func() {}) },
	} {
		t.Run(call, func(t *testing.T) {
			nodes := cluster(t, 2)
			disk := &rotten{Store: store.NewMem()}
			nodes[0].store = disk
			for _, nd := range nodes {
				nd.start(true, nodes...)
			}
			awaitConnected(t, nodes...)
			nodes[0].mustRegister("ada")
			awaitEqual(t, nodes...)
			select {
			case <-nodes[0].Done():
				t.Fatalf("ended before the damage: %v", nodes[0].Err())
			default:
			}
			disk.rotAt(call)
			err := use(nodes[0])
			if !protocol.CodeOf(err).ElsewhereHelps() || strings.Contains(err.Error(), "secret") {
				t.Errorf("who came upon it hears %v (%s), want to be sent elsewhere", err, codeOf(err))
			}
			select {
			case <-nodes[0].Done():
			case <-time.After(patience):
				t.Fatal("it goes on")
			}
			if err := nodes[0].Err(); codeOf(err) != protocol.CodeState {
				t.Errorf("Err() = %v, want E_STATE", err)
			}
			// The store says nothing more, and yet nothing is done with it.
			disk.rotAt("")
			if err := nodes[0].Serving(); codeOf(err) != protocol.CodeBusy || strings.Contains(err.Error(), "secret") {
				t.Errorf("Serving() = %v, want E_BUSY", err)
			}
			if _, err := nodes[0].register("cleo", userID("cleo")); codeOf(err) != protocol.CodeBusy {
				t.Errorf("a change afterwards: %v, want E_BUSY", err)
			}
			// The other one notices that it is alone, and goes on.
			if s, err := nodes[1].register("dan", userID("dan")); err != nil || s.On != 1 {
				t.Errorf("at the other tracker: %+v, %v, want on 1", s, err)
			}
		})
	}
}

// A tracker that is closed has ended for no reason.
func TestDoneAfterClose(t *testing.T) {
	t.Parallel()
	nd := running(t, 1)[0]
	nd.stop()
	select {
	case <-nd.Done():
	default:
		t.Error("Done is not closed after Close")
	}
	if err := nd.Err(); err != nil {
		t.Errorf("Err() after Close = %v", err)
	}
}
