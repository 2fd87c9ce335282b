package replica

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/internal/frugal"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

func claim(name string, by byte) catalog.Key {
	return catalog.NameClaims(catalog.NewAccount(protocol.UserID{by}, name, "$x"))[0]
}

func TestReservations(t *testing.T) {
	var rs reservations
	now := time.Now()
	ada, other, bob := claim("ada", 1), claim("ada", 2), claim("bob", 2)
	steps := []struct {
		name  string
		token string
		keys  []catalog.Key
		at    time.Duration
		want  bool
	}{
		{"free", "a", []catalog.Key{ada}, 0, true},
		{"another claimant", "b", []catalog.Key{other}, time.Second, false},
		{"one of two is taken", "b", []catalog.Key{bob, other}, time.Second, false},
		{"nothing was kept of the two", "c", []catalog.Key{claim("bob", 3)}, time.Second, true},
		{"the same request again", "d", []catalog.Key{ada}, 2 * time.Second, true},
		{"extended by it", "e", []catalog.Key{other}, 6 * time.Second, false},
		{"run out", "e", []catalog.Key{other}, 8 * time.Second, true},
	}
	for _, step := range steps {
		got := rs.reserve(step.token, step.keys, now.Add(step.at))
		if code := protocol.CodeOf(got); (got == nil) != step.want || got != nil && code != protocol.CodeExists {
			t.Errorf("%s: %v, want granted %v", step.name, got, step.want)
		}
	}
	rs.release("nobody's")
	if rs.reserve("f", []catalog.Key{ada}, now.Add(8*time.Second)) == nil {
		t.Error("a strange token has given a name back")
	}
	rs.release("e")
	if rs.reserve("f", []catalog.Key{ada}, now.Add(8*time.Second)) != nil {
		t.Error("a released name is not free")
	}
	rs.settled([]catalog.Fact{{Key: ada}})
	if rs.reserve("g", []catalog.Key{other}, now.Add(8*time.Second)) != nil {
		t.Error("a name whose claim is stored is still reserved")
	}
}

func TestReservationsAreBounded(t *testing.T) {
	rs := reservations{byName: map[string]reserved{}}
	now := time.Now()
	for i := range maxReserved - 1 {
		rs.byName[fmt.Sprintf("name/user/u%d", i)] = reserved{key: "k", token: "t", until: now.Add(time.Second)}
	}
	if err := rs.reserve("u", []catalog.Key{"name/user/more/x", "name/user/evenmore/x"}, now); protocol.CodeOf(err) != protocol.CodeBusy {
		t.Errorf("more than the limit: %v, want E_BUSY", err)
	}
	if rs.reserve("u", []catalog.Key{"name/user/last/x"}, now) != nil {
		t.Error("the last one within the limit is refused")
	}
	if rs.reserve("u", []catalog.Key{"name/user/more/x"}, now.Add(2*time.Second)) != nil {
		t.Error("what has run out still counts")
	}
}

func TestQuarantine(t *testing.T) {
	var q quarantine
	wall := int64(1_000_000_000)
	at := func(ahead time.Duration) catalog.Fact {
		return catalog.Fact{Key: "k", Stamp: protocol.Stamp{Wall: wall + ahead.Milliseconds(), Origin: "o"}}
	}
	if q.hold(wall, at(5*time.Minute)) {
		t.Error("a fact 5 minutes ahead is held")
	}
	early, late := at(6*time.Minute), at(7*time.Minute)
	if !q.hold(wall, early) || !q.hold(wall, late) || !q.hold(wall, late) {
		t.Error("facts from the future are not held")
	}
	if !q.declines("k", late.Stamp) || q.declines("k", at(0).Stamp) {
		t.Error("it declines what does not wait, or fetches what does")
	}
	if got := q.due(wall + time.Minute.Milliseconds()); len(got) != 1 || got[0].Stamp != early.Stamp {
		t.Errorf("due = %v, want the earlier one", got)
	}
	if got := q.due(wall + time.Hour.Milliseconds()); len(got) != 1 {
		t.Errorf("due later = %v, want the other one once", got)
	}
	for i := range maxQuarantine + 1 {
		f := at(6 * time.Minute)
		f.Key = catalog.Key(fmt.Sprint("key", i))
		q.hold(wall, f)
	}
	if len(q.facts) != maxQuarantine || !q.declines("fresh", late.Stamp) {
		t.Errorf("%d facts wait, and one more is fetched in vain", len(q.facts))
	}
	if got := q.due(wall + time.Hour.Milliseconds()); len(got) != maxQuarantine || q.bytes != 0 {
		t.Errorf("%d facts are due, and %d bytes counted of none", len(got), q.bytes)
	}
	large := make([]byte, protocol.MaxFactValue)
	for i := range maxQuarantine {
		f := at(6 * time.Minute)
		f.Key, f.Value = catalog.Key(fmt.Sprint("key", i)), large
		q.hold(wall, f)
		q.hold(wall, f) // counts once
	}
	if held := len(q.facts) * len(large); held < maxQuarantineBytes || held > maxQuarantineBytes+2*len(large) || !q.declines("fresh", late.Stamp) {
		t.Errorf("facts of %d bytes wait, and one more is fetched in vain", held)
	}
}

// What was held back may be on no other disk any more when its time has come.
func TestReleaseIsDoubted(t *testing.T) {
	wall := time.Now()
	r := &Replica{cfg: Config{Now: func() time.Time { return wall }}}
	r.writer = newWriter(r)
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithCancel(t.Context())
	cancel() // nothing is stored, which leaves the fact where it is
	close(r.writer.gone)
	r.proofs.level = true
	if r.releaseDue(); !r.proofs.level {
		t.Error("doubted although nothing waits")
	}
	r.later.hold(r.wall(), catalog.Fact{Key: "k", Stamp: protocol.Stamp{Wall: r.wall() + (10 * time.Minute).Milliseconds(), Origin: "o"}})
	wall = wall.Add(time.Hour)
	if r.releaseDue(); r.proofs.level || len(r.later.facts) != 1 || len(r.proofs.open) != 0 {
		t.Errorf("level %v with %d facts that wait, %d changes open", r.proofs.level, len(r.later.facts), len(r.proofs.open))
	}
}

func TestUnnamedBlobs(t *testing.T) {
	b := newBlobs()
	now := time.Now()
	kept := []protocol.FileID{{1}, {2}, {3}}
	b.orphans[protocol.FileID{2}] = now.Add(-2 * orphanLife)
	named := map[protocol.FileID]bool{{3}: true}
	if got := b.unnamed(kept, named, now); !slices.Equal(got, []protocol.FileID{{2}}) {
		t.Errorf("old = %v, want 2", got)
	}
	if got := b.unnamed(kept[:1], named, now.Add(orphanLife/2)); got != nil {
		t.Errorf("old = %v, want none yet", got)
	}
	if got := b.unnamed(kept[:1], named, now.Add(orphanLife+time.Second)); !slices.Equal(got, kept[:1]) {
		t.Errorf("old = %v, want 1", got)
	}
}

func TestRankIsOneOrderForAll(t *testing.T) {
	trackers := []string{"a", "b", "c", "d"}
	firsts := map[string]int{}
	for i := range 400 {
		k := catalog.Key(fmt.Sprintf("name/user/u%d/1", i))
		// Whoever claims, the first of all is among the two that are asked.
		order := slices.SortedFunc(slices.Values(trackers), func(a, b string) int {
			return bytes.Compare(rank(k, b), rank(k, a))
		})
		firsts[order[0]]++
		if !bytes.Equal(rank(k, "a"), rank(catalog.Key(fmt.Sprintf("name/user/u%d/2", i)), "a")) {
			t.Fatal("two claimants of one name rank differently")
		}
	}
	for _, tr := range trackers {
		if firsts[tr] < 50 {
			t.Errorf("tracker %s is first for %d of 400 names only", tr, firsts[tr])
		}
	}
}

func FuzzRecord(f *testing.F) {
	fact := catalog.Fact{Key: "user/1", Value: []byte("v"), Stamp: protocol.Stamp{Wall: 1 << 40, Logical: 7, Origin: "origin"}}
	f.Add(toRecord(fact).Value)
	f.Add([]byte{})
	f.Add([]byte{1, 0x80})
	f.Add([]byte{1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		defer frugal.Check(t)()
		got, err := fromRecord(store.Record{Key: "k", Value: b})
		if err != nil {
			return
		}
		again, err := fromRecord(toRecord(got))
		if err != nil || again.Stamp != got.Stamp || !bytes.Equal(again.Value, got.Value) {
			t.Errorf("%v became %v, %v", got, again, err)
		}
	})
}

// strangeStore has every manifest, and panics over one.
type strangeStore struct {
	store.Store
	looked atomic.Int32
}

func (s *strangeStore) HasBlob(id protocol.FileID) (bool, error) {
	if id[0] == 1 {
		panic("over one")
	}
	s.looked.Add(1)
	return true, nil
}

// A fault over one manifest is an error of the fetch, and those of other runs are fetched.
func TestPanicOverManifests(t *testing.T) {
	disk := &strangeStore{}
	ids := make([]protocol.FileID, 3*fetchRun)
	ids[0][0] = 1
	r := &Replica{cfg: Config{Store: disk}, blobs: newBlobs()}
	err := r.fetchAll(t.Context(), ids, nil)
	if code := protocol.CodeOf(err); code != protocol.CodeInternal {
		t.Errorf("fetchAll = %v, want %s", err, protocol.CodeInternal)
	}
	if n := int(disk.looked.Load()); n < len(ids)-fetchRun {
		t.Errorf("%d of %d were looked at", n, len(ids))
	}
}

// Each try for which there is no room is followed by a longer pause, until all fits.
func TestPausesWithoutRoom(t *testing.T) {
	b, now := newBlobs(), time.Now()
	for _, want := range []time.Duration{firstPause, 2 * firstPause, 4 * firstPause} {
		b.lackRoom(now)
		b.lackRoom(now.Add(time.Second)) // of another worker
		if b.hasRoom(now.Add(want-1)) || !b.hasRoom(now.Add(want)) {
			t.Errorf("the pause does not end after %v", want)
		}
		now = now.Add(want)
	}
	for range 20 {
		b.lackRoom(now)
		now = b.noRoom.until
	}
	b.lackRoom(now)
	if !b.hasRoom(now.Add(longestPause)) {
		t.Errorf("a pause is longer than %v", longestPause)
	}
	if b.roomCame(); !b.hasRoom(now) {
		t.Error("the pause goes on once there is room")
	}
	b.fitted()
	if b.lackRoom(now); !b.hasRoom(now.Add(firstPause)) {
		t.Error("a pause begins long although all had room since")
	}
}
