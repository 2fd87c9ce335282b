// Package storetest is what every implementation of store.Store must do, as a
// suite that their tests run.
package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// Run runs the suite. open returns a store: the first call for a t an empty one,
// later calls what was kept after a Close. An implementation that forgets at
// Close says so with keeps false.
func Run(t *testing.T, keeps bool, open func(t *testing.T) store.Store) {
	t.Run("empty", func(t *testing.T) { empty(t, open(t)) })
	t.Run("facts", func(t *testing.T) { facts(t, open(t)) })
	t.Run("order", func(t *testing.T) { order(t, open(t)) })
	t.Run("blobs", func(t *testing.T) { blobs(t, open(t)) })
	t.Run("meta", func(t *testing.T) { meta(t, open(t)) })
	t.Run("all or nothing", func(t *testing.T) { atomic(t, open(t)) })
	t.Run("owns its data", func(t *testing.T) { owns(t, open(t)) })
	t.Run("stops at an error", func(t *testing.T) { stops(t, open(t)) })
	t.Run("concurrent", func(t *testing.T) { concurrent(t, open(t)) })
	t.Run("closed", func(t *testing.T) { closed(t, open(t)) })
	t.Run("like a map", func(t *testing.T) { likeMap(t, open(t)) })
	if keeps {
		t.Run("restart", func(t *testing.T) { restart(t, open) })
	}
}

func empty(t *testing.T, s store.Store) {
	defer closeStore(t, s)
	if got := records(t, s); len(got) != 0 {
		t.Errorf("records = %v, want none", got)
	}
	if v, err := s.Meta("x"); v != nil || err != nil {
		t.Errorf("Meta = %v, %v, want nil, nil", v, err)
	}
	if b, ok, err := s.Blob(id(1)); ok || err != nil || len(b) != 0 {
		t.Errorf("Blob = %v, %v, %v, want nothing", b, ok, err)
	}
	if _, _, ok, err := s.BlobRange(id(1), 0, 10); ok || err != nil {
		t.Errorf("BlobRange: ok %v, err %v, want neither", ok, err)
	}
	if ok, err := s.HasBlob(id(1)); ok || err != nil {
		t.Errorf("HasBlob = %v, %v, want false, nil", ok, err)
	}
	if err := s.Commit(store.Batch{}); err != nil {
		t.Errorf("empty commit: %v", err)
	}
}

func facts(t *testing.T, s store.Store) {
	defer closeStore(t, s)
	commit(t, s, store.Batch{Put: []store.Record{rec("a", "1"), rec("b", "2"), rec("c", "")}})
	commit(t, s, store.Batch{Put: []store.Record{rec("b", "3"), rec("d", "4")}, Delete: []string{"a", "d", "nothing"}})
	want := map[string]string{"b": "3", "c": "", "d": "4"}
	if got := records(t, s); !maps.Equal(got, want) {
		t.Errorf("records = %v, want %v", got, want)
	}
}

func order(t *testing.T, s store.Store) {
	defer closeStore(t, s)
	commit(t, s, store.Batch{Put: []store.Record{rec("b/2", ""), rec("a", ""), rec("b/1", ""), rec("b", "")}})
	var got []string
	if err := s.Records(func(r store.Record) error { got = append(got, r.Key); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := "[a b b/1 b/2]"; fmt.Sprint(got) != want {
		t.Errorf("order = %v, want %v", got, want)
	}
}

func blobs(t *testing.T, s store.Store) {
	defer closeStore(t, s)
	sizes := []int{0, 1, protocol.BlobChunk - 1, protocol.BlobChunk, protocol.BlobChunk + 1, 3*protocol.BlobChunk + 7}
	batch := store.Batch{Blobs: map[protocol.FileID][]byte{}}
	for i, n := range sizes {
		batch.Blobs[id(i)] = pattern(n)
	}
	commit(t, s, batch)
	commit(t, s, batch) // the same again is the same
	for i, n := range sizes {
		want := pattern(n)
		if b, ok, err := s.Blob(id(i)); err != nil || !ok || !bytes.Equal(b, want) {
			t.Errorf("blob of %d bytes: got %d bytes, ok %v, err %v", n, len(b), ok, err)
		}
		if ok, err := s.HasBlob(id(i)); !ok || err != nil {
			t.Errorf("HasBlob = %v, %v, want true", ok, err)
		}
		for _, at := range []int{0, 1, n / 2, n - 1, n, n + 5} {
			for _, length := range []int{0, 1, 1000, protocol.BlobChunk, n} {
				if at >= 0 {
					checkPart(t, s, id(i), want, at, length)
				}
			}
		}
	}
	if _, _, _, err := s.BlobRange(id(1), -1, 5); err == nil {
		t.Error("a negative offset is no error")
	}
	seen := map[protocol.FileID]int{}
	if err := s.BlobIDs(func(id protocol.FileID) error { seen[id]++; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(seen) != len(sizes) {
		t.Errorf("BlobIDs told of %d, want %d", len(seen), len(sizes))
	}
	commit(t, s, store.Batch{DeleteBlobs: []protocol.FileID{id(5), id(77)}})
	if ok, err := s.HasBlob(id(5)); ok || err != nil {
		t.Errorf("HasBlob after deletion = %v, %v, want false", ok, err)
	}
	if ok, _ := s.HasBlob(id(4)); !ok {
		t.Error("deleting a manifest took another one")
	}
}

func checkPart(t *testing.T, s store.Store, id protocol.FileID, whole []byte, at, length int) {
	t.Helper()
	from := min(at, len(whole))
	want := whole[from:min(from+length, len(whole))]
	b, size, ok, err := s.BlobRange(id, int64(at), length)
	if err != nil || !ok || size != int64(len(whole)) || !bytes.Equal(b, want) {
		t.Errorf("BlobRange(%d, %d) of %d: %d bytes, size %d, ok %v, err %v; want %d bytes",
			at, length, len(whole), len(b), size, ok, err, len(want))
	}
}

func meta(t *testing.T, s store.Store) {
	defer closeStore(t, s)
	commit(t, s, store.Batch{Meta: map[string][]byte{"net": []byte("1"), "empty": {}, "gone": []byte("2")}})
	commit(t, s, store.Batch{Meta: map[string][]byte{"gone": nil, "never": nil}})
	if v, err := s.Meta("net"); string(v) != "1" || err != nil {
		t.Errorf("net = %q, %v", v, err)
	}
	if v, err := s.Meta("empty"); v == nil || len(v) != 0 || err != nil {
		t.Errorf("empty = %v, %v, want empty and not nil", v, err)
	}
	if v, err := s.Meta("gone"); v != nil || err != nil {
		t.Errorf("gone = %v, %v, want nil", v, err)
	}
}

func atomic(t *testing.T, s store.Store) {
	defer closeStore(t, s)
	commit(t, s, store.Batch{Put: []store.Record{rec("a", "1")}})
	err := s.Commit(store.Batch{
		Put:    []store.Record{rec("b", "2"), rec("", "no key")},
		Delete: []string{"a"},
		Meta:   map[string][]byte{"m": []byte("1")},
		Blobs:  map[protocol.FileID][]byte{id(1): []byte("x")},
	})
	if err == nil {
		t.Fatal("a record without a key is no error")
	}
	if got := records(t, s); !maps.Equal(got, map[string]string{"a": "1"}) {
		t.Errorf("records after a failed commit = %v, want as before", got)
	}
	if v, _ := s.Meta("m"); v != nil {
		t.Error("a failed commit left a named value")
	}
	if ok, _ := s.HasBlob(id(1)); ok {
		t.Error("a failed commit left a manifest")
	}
}

func owns(t *testing.T, s store.Store) {
	defer closeStore(t, s)
	v, b, m := []byte("value"), []byte("blob"), []byte("meta")
	commit(t, s, store.Batch{
		Put:   []store.Record{{Key: "a", Value: v}},
		Blobs: map[protocol.FileID][]byte{id(1): b},
		Meta:  map[string][]byte{"m": m},
	})
	v[0], b[0], m[0] = 'X', 'X', 'X'
	if got := records(t, s)["a"]; got != "value" {
		t.Errorf("value = %q after the caller changed its own", got)
	}
	got, _, err := s.Blob(id(1))
	if err != nil || string(got) != "blob" {
		t.Fatalf("blob = %q, %v", got, err)
	}
	got[0] = 'Y'
	if again, _, _ := s.Blob(id(1)); string(again) != "blob" {
		t.Errorf("blob = %q after a reader changed its copy", again)
	}
	if got, _ := s.Meta("m"); string(got) != "meta" {
		t.Errorf("named value = %q", got)
	}
}

func stops(t *testing.T, s store.Store) {
	defer closeStore(t, s)
	commit(t, s, store.Batch{
		Put:   []store.Record{rec("a", "1"), rec("b", "2")},
		Blobs: map[protocol.FileID][]byte{id(1): nil, id(2): nil},
	})
	enough, calls := errors.New("enough"), 0
	if err := s.Records(func(store.Record) error { calls++; return enough }); !errors.Is(err, enough) {
		t.Errorf("Records = %v, want the callback's error", err)
	}
	if err := s.BlobIDs(func(protocol.FileID) error { calls++; return enough }); !errors.Is(err, enough) {
		t.Errorf("BlobIDs = %v, want the callback's error", err)
	}
	if calls != 2 {
		t.Errorf("%d calls, want one each", calls)
	}
}

func concurrent(t *testing.T, s store.Store) {
	defer closeStore(t, s)
	const writers, each = 4, 10
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				batch := store.Batch{Put: []store.Record{rec(fmt.Sprintf("%d/%d", w, i), "v")}}
				if err := s.Commit(batch); err != nil {
					t.Errorf("commit: %v", err)
				}
			}
		})
		wg.Go(func() {
			for range each {
				if err := s.Records(func(store.Record) error { return nil }); err != nil {
					t.Errorf("records: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if got := len(records(t, s)); got != writers*each {
		t.Errorf("%d records, want %d", got, writers*each)
	}
}

func closed(t *testing.T, s store.Store) {
	closeStore(t, s)
	_, _, blobErr := s.Blob(id(1))
	_, _, _, rangeErr := s.BlobRange(id(1), 0, 1)
	_, hasErr := s.HasBlob(id(1))
	_, metaErr := s.Meta("m")
	for what, err := range map[string]error{
		"Commit":    s.Commit(store.Batch{Put: []store.Record{rec("a", "1")}}),
		"Records":   s.Records(func(store.Record) error { return nil }),
		"BlobIDs":   s.BlobIDs(func(protocol.FileID) error { return nil }),
		"Blob":      blobErr,
		"BlobRange": rangeErr,
		"HasBlob":   hasErr,
		"Meta":      metaErr,
	} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s after Close = %v, want ErrClosed", what, err)
		}
	}
}

// likeMap compares with a plain map under random batches.
func likeMap(t *testing.T, s store.Store) {
	defer closeStore(t, s)
	model := map[string]string{}
	rapid.Check(t, func(rt *rapid.T) {
		keys := rapid.SampledFrom([]string{"a", "a/b", "b", "\x00", "\xff"})
		var batch store.Batch
		for _, k := range rapid.SliceOfN(keys, 0, 3).Draw(rt, "delete") {
			batch.Delete = append(batch.Delete, k)
			delete(model, k)
		}
		for _, k := range rapid.SliceOfN(keys, 0, 3).Draw(rt, "put") {
			v := rapid.StringN(0, 20, 40).Draw(rt, "value")
			batch.Put = append(batch.Put, rec(k, v))
			model[k] = v
		}
		if err := s.Commit(batch); err != nil {
			rt.Fatal(err)
		}
		if got := records(t, s); !maps.Equal(got, model) {
			rt.Fatalf("records = %v, want %v", got, model)
		}
	})
}

func restart(t *testing.T, open func(t *testing.T) store.Store) {
	s := open(t)
	commit(t, s, store.Batch{
		Put:   []store.Record{rec("a", "1"), rec("b", "2")},
		Blobs: map[protocol.FileID][]byte{id(1): pattern(protocol.BlobChunk + 5)},
		Meta:  map[string][]byte{"m": []byte("1")},
	})
	commit(t, s, store.Batch{Delete: []string{"b"}})
	closeStore(t, s)
	s = open(t)
	defer closeStore(t, s)
	if got := records(t, s); !maps.Equal(got, map[string]string{"a": "1"}) {
		t.Errorf("records after a restart = %v", got)
	}
	if b, ok, err := s.Blob(id(1)); err != nil || !ok || !bytes.Equal(b, pattern(protocol.BlobChunk+5)) {
		t.Errorf("blob after a restart: %d bytes, ok %v, err %v", len(b), ok, err)
	}
	if v, err := s.Meta("m"); string(v) != "1" || err != nil {
		t.Errorf("named value after a restart = %q, %v", v, err)
	}
}

func rec(k, v string) store.Record { return store.Record{Key: k, Value: []byte(v)} }

func id(i int) protocol.FileID { return protocol.FileID{0: byte(i), 31: 1} }

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func commit(t *testing.T, s store.Store, b store.Batch) {
	t.Helper()
	if err := s.Commit(b); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

func records(t *testing.T, s store.Store) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := s.Records(func(r store.Record) error { got[r.Key] = string(r.Value); return nil })
	if err != nil {
		t.Fatalf("records: %v", err)
	}
	return got
}

func closeStore(t *testing.T, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}
