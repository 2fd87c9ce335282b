package catalog_test

import (
	"slices"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

func names(c *catalog.Catalog) []string {
	var out []string
	for f := range c.Files(gid(1), "") {
		out = append(out, f.Name)
	}
	return out
}

func wantNamed(t *testing.T, c *catalog.Catalog, name string, want byte) {
	t.Helper()
	f, ok := c.FileNamed(gid(1), name)
	if !ok || f.ID != fid(want) {
		t.Errorf("%q means file %v (%v), want %v", name, f.ID, ok, fid(want))
	}
}

// wouldBeTaken tells whether sharing this would be E_EXISTS.
func wouldBeTaken(c *catalog.Catalog, ds []catalog.Draft) bool {
	return slices.ContainsFunc(catalog.NameClaims(ds), c.ClaimHeld)
}

func TestNewContentKeepsSince(t *testing.T) {
	w, a, b := two(t)
	w.club(t, 3)
	a.do(a.share(1, 1, "Notes.txt"))
	// On the other side somebody else claims the name later.
	b.do(b.share(2, 2, "notes.TXT"))
	// Then the holder has new content, later than that.
	ds := a.share(1, 3, "Notes.txt")
	if wouldBeTaken(a.c, ds) {
		t.Fatal("the holder may not move the name to new content")
	}
	a.do(ds)
	w.heal(t)
	for _, tr := range w.all {
		wantNamed(t, tr.c, "NOTES.txt", 3)
		wantNamed(t, tr.c, "notes.txt~02ee", 2)
		if _, ok := tr.c.FileNamed(gid(1), "notes.txt~01ee"); ok {
			t.Error("content without a name is found by name")
		}
		if got, want := names(tr.c), []string{"Notes.txt", "notes.TXT~02ee"}; !slices.Equal(got, want) {
			t.Errorf("names %q, want %q", got, want)
		}
		if got := tr.c.FileCount(gid(1)); got != 2 {
			t.Errorf("%d files, want 2", got)
		}
		if f, ok := tr.c.File(gid(1), fid(1)); !ok || f.Name != "Notes.txt" || !f.Holder.IsZero() {
			t.Errorf("file 1: %+v %v", f, ok)
		}
	}
	// The loser cannot move to new content under the holder's name.
	if !wouldBeTaken(b.c, b.share(2, 4, "notes.txt")) {
		t.Error("new content under a name that another holds is not refused")
	}
	// The loser gets the bare name when the holder's share ends.
	a.do(a.c.StopShare(shareOf(1, 3)))
	wantNamed(t, a.c, "notes.txt", 2)
}

func TestNewContentUnderAnothersName(t *testing.T) {
	w, a, _ := two(t)
	w.club(t, 2)
	a.do(a.share(1, 1, "a"))
	if !wouldBeTaken(a.c, a.share(2, 2, "A")) {
		t.Fatal("another's name is not held")
	}
	a.do(a.c.StopShare(shareOf(1, 1)))
	if wouldBeTaken(a.c, a.share(2, 2, "A")) {
		t.Fatal("a name is held although nobody shares its file")
	}
	a.do(a.share(2, 2, "A"))
	wantNamed(t, a.c, "a", 2)
	// The first one is too late now: its claim is out of force, and a new one loses.
	ds := a.share(1, 1, "a")
	if !wouldBeTaken(a.c, ds) {
		t.Fatal("a claim that was out of force takes the name back")
	}
}

func TestSecondSharerOfTheSameContent(t *testing.T) {
	w, a, _ := two(t)
	w.club(t, 2)
	a.do(a.share(1, 1, "a"))
	ds := a.share(2, 1, "a")
	if len(ds) != 1 || len(catalog.NameClaims(ds)) != 0 {
		t.Fatalf("drafts %v, want the share alone", ds)
	}
	a.do(ds)
	a.do(a.c.StopShare(shareOf(1, 1)))
	wantNamed(t, a.c, "a", 1)
	if f, _ := a.c.FileNamed(gid(1), "a"); f.Holder != uid(1) {
		t.Errorf("holder %v, want the claimant", f.Holder)
	}
	if got, want := a.c.Shares(gid(1), fid(1)), []catalog.Share{shareOf(2, 1)}; !slices.Equal(got, want) {
		t.Errorf("shares %v, want %v", got, want)
	}
	a.do(a.c.Remove(gid(1), uid(2), a.id))
	if names(a.c) != nil {
		t.Errorf("names %q although no share counts", names(a.c))
	}
	// Back again: the old share has not seen the removal.
	a.do(a.c.Grant(gid(1), uid(2)))
	if a.c.IsShared(shareOf(2, 1)) {
		t.Error("a share counts that has not seen the removal of its user")
	}
	a.do(a.share(2, 1, "a"))
	if !a.c.IsShared(shareOf(2, 1)) {
		t.Error("a share made after the return does not count")
	}
	wantNamed(t, a.c, "a", 1)
}

// A share that has seen more removals than the grant beside it: the grant of
// the other side, which is later, has won and is void.
// The sharer was removed and let in again on both sides of a cut. The grant of
// the other side comes before its removal.
func TestSharesOfNonMembersDoNotCount(t *testing.T) {
	w, a, b := two(t)
	w.club(t, 2)
	for _, side := range w.all {
		side.do(side.c.Remove(gid(1), uid(2), side.id))
	}
	a.do(a.c.Grant(gid(1), uid(2)))
	a.do(a.share(2, 1, "x"))
	mustMerge(t, a.c, b.do(b.c.Grant(gid(1), uid(2)))...)
	for range 2 {
		if a.c.IsMember(gid(1), uid(2)) || a.c.IsShared(shareOf(2, 1)) || names(a.c) != nil {
			t.Errorf("member %v, shared %v, names %q", a.c.IsMember(gid(1), uid(2)), a.c.IsShared(shareOf(2, 1)), names(a.c))
		}
		w.heal(t)
	}
}

func TestOneFileClaimedOnBothSidesIsShownOnce(t *testing.T) {
	w, a, b := two(t)
	w.club(t, 2)
	a.do(a.share(1, 1, "a"))
	b.do(b.share(2, 1, "a"))
	w.heal(t)
	if got := names(a.c); !slices.Equal(got, []string{"a"}) {
		t.Fatalf("names %q, want a once", got)
	}
	if f, _ := a.c.FileNamed(gid(1), "a"); f.Holder != uid(1) {
		t.Errorf("holder %v, want the earlier", f.Holder)
	}
}

func TestSuffixesGrowWhereTheyWouldBeEqual(t *testing.T) {
	w := newWorld(t, "A")
	a := w.all[0]
	ids := []protocol.UserID{{0x11}, {0x22, 0x22, 0x30}, {0x22, 0x22, 0x31}, {0x44}}
	for _, id := range ids {
		a.do(catalog.NewAccount(id, "bob", "$x"))
	}
	want := []string{"bob", "bob~222230", "bob~222231", "bob~4400"}
	for i, id := range ids {
		u, _ := a.c.User(id)
		if u.Name != want[i] {
			t.Errorf("shown as %q, want %q", u.Name, want[i])
		}
		if v, ok := a.c.UserNamed(want[i]); !ok || v.ID != id {
			t.Errorf("%q means %v", want[i], v.ID)
		}
	}
	for _, name := range []string{"bob~2222", "bob~1100", "bob~9999", "bob~", "~4400", "Bob~44", ""} {
		if u, ok := a.c.UserNamed(name); ok {
			t.Errorf("%q means %v, want nobody", name, u.ID)
		}
	}
}

func TestPagesOfFilesAndGroups(t *testing.T) {
	w, a, b := two(t)
	w.club(t, 2)
	a.do(a.share(1, 1, "m"))
	b.do(b.share(2, 2, "M"))
	a.do(a.share(1, 3, "a b"))
	a.do(a.share(1, 4, "z"))
	w.heal(t)
	want := []string{"a b", "m", "M~02ee", "z"}
	var got []string
	for after := ""; ; after = got[len(got)-1] {
		next := ""
		for f := range a.c.Files(gid(1), after) {
			next = f.Name
			break
		}
		if next == "" {
			break
		}
		got = append(got, next)
	}
	if !slices.Equal(got, want) {
		t.Errorf("page by page %q, want %q", got, want)
	}
	a.do(catalog.NewGroup(gid(2), "Alpha", uid(1)))
	a.do(catalog.NewGroup(gid(3), "club", uid(1)))
	var groups []string
	for g := range a.c.Groups("alpha") {
		groups = append(groups, g.Name)
	}
	if want := []string{"Club", "club~03cc"}; !slices.Equal(groups, want) {
		t.Errorf("groups %q, want %q", groups, want)
	}
}

func TestManifestBytesAndBlobs(t *testing.T) {
	w, a, b := two(t)
	w.club(t, 2)
	f1 := a.do(a.share(1, 1, "a"))
	b.do(b.share(2, 1, "a"))
	w.heal(t)
	for _, tr := range w.all {
		if x, y := tr.c.ManifestBytesOf(uid(1)), tr.c.ManifestBytesOf(uid(2)); x != 100 || y != 0 {
			t.Errorf("bytes %d and %d, want the first sharer to have them", x, y)
		}
		if got := slices.Collect(tr.c.Blobs()); !slices.Equal(got, []protocol.FileID{fid(1)}) {
			t.Errorf("blobs %v", got)
		}
	}
	if id, ok := catalog.BlobOf(f1[0]); !ok || id != fid(1) {
		t.Errorf("the file fact names %v %v", id, ok)
	}
	if _, ok := catalog.BlobOf(f1[1]); ok {
		t.Error("the share names a manifest")
	}
}
