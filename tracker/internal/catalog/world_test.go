package catalog_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// tracker is a catalog with what a replica adds: stamps of its own.
type tracker struct {
	t  *testing.T
	id string
	c  *catalog.Catalog
	w  *world
}

// world is trackers that read one clock, so that later in a test is later in stamps.
type world struct {
	wall int64
	all  []*tracker
}

const minute = int64(60_000)

func newWorld(t *testing.T, ids ...string) *world {
	w := &world{wall: 1_700_000_000_000}
	for _, id := range ids {
		w.all = append(w.all, &tracker{t: t, id: id, c: catalog.New(), w: w})
	}
	return w
}

func two(t *testing.T) (w *world, a, b *tracker) {
	w = newWorld(t, "A", "B")
	return w, w.all[0], w.all[1]
}

// do stamps drafts and merges them.
func (tr *tracker) do(ds []catalog.Draft) []catalog.Fact {
	tr.t.Helper()
	tr.w.wall++
	var out []catalog.Fact
	for _, d := range ds {
		f := catalog.Fact{Key: d.Key, Value: d.Value, Stamp: protocol.Stamp{Wall: tr.w.wall, Origin: tr.id}}
		mustMerge(tr.t, tr.c, f)
		out = append(out, f)
	}
	return out
}

// heal exchanges all facts among all trackers.
func (w *world) heal(t *testing.T) {
	t.Helper()
	for _, from := range w.all {
		for _, to := range w.all {
			mustMerge(t, to.c, facts(from.c)...)
		}
	}
	for _, tr := range w.all[1:] {
		if tr.c.Root() != w.all[0].c.Root() {
			t.Fatalf("roots differ after all facts were exchanged")
		}
	}
}

func mustMerge(t testing.TB, c *catalog.Catalog, fs ...catalog.Fact) {
	t.Helper()
	for _, f := range fs {
		if _, err := c.Merge(f); err != nil {
			t.Fatalf("merge %s: %v", f.Key, err)
		}
	}
}

func facts(c *catalog.Catalog) []catalog.Fact { return slices.Collect(c.FactsUnder("")) }

func uid(b byte) protocol.UserID    { return protocol.UserID{b, 0xaa, 0xbb} }
func gid(b byte) protocol.GroupID   { return protocol.GroupID{b, 0xcc, 0xdd} }
func fid(b byte) protocol.FileID    { return protocol.FileID{b, 0xee, 0xff} }
func sid(b byte) protocol.SessionID { return protocol.SessionID{b, 0x11} }

func manifest(name string) *protocol.Manifest {
	return &protocol.Manifest{Name: name, Size: 5, PieceLength: protocol.MinPieceLength, Pieces: make([]protocol.PieceHash, 1)}
}

// share is file f under name, shared by u in group 1 from one client.
func (tr *tracker) share(u, f byte, name string) []catalog.Draft {
	return tr.c.ShareFile(shareOf(u, f), manifest(name), 100)
}

func shareOf(u, f byte) catalog.Share {
	return catalog.Share{Group: gid(1), File: fid(f), User: uid(u), Peer: fmt.Sprintf("peer%d", u)}
}

// club makes users 1..n and group 1 "Club" of user 1 with all of them in it, everywhere.
func (w *world) club(t *testing.T, n byte) {
	t.Helper()
	tr := w.all[0]
	for u := byte(1); u <= n; u++ {
		tr.do(catalog.NewAccount(uid(u), fmt.Sprintf("user%d", u), "$phc"))
	}
	tr.do(catalog.NewGroup(gid(1), "Club", uid(1)))
	for u := byte(2); u <= n; u++ {
		tr.do(tr.c.Grant(gid(1), uid(u)))
	}
	w.heal(t)
}

// describe writes down all views over small ids.
func describe(c *catalog.Catalog) string {
	var b strings.Builder
	fmt.Fprintln(&b, c.Counts())
	for u := range byte(6) {
		user, ok := c.User(uid(u))
		v, _ := c.Verifier(uid(u))
		fmt.Fprintln(&b, "user", u, user, ok, v, c.Sessions(uid(u)), c.OpenRequestsOf(uid(u)), c.ManifestBytesOf(uid(u)))
		fmt.Fprintln(&b, "groups", c.GroupsOf(uid(u)), "shares", c.SharesOf(uid(u)))
		if named, found := c.UserNamed(user.Name); ok && user.Canonical == user.Name && (!found || named != user) {
			fmt.Fprintln(&b, "not found by name", u)
		}
	}
	for s := range byte(4) {
		fmt.Fprintln(&b, "revoked", c.Revoked(sid(s)))
	}
	fmt.Fprintln(&b, "all", slices.Collect(c.Groups("")))
	for g := range byte(4) {
		group, ok := c.Group(gid(g))
		fmt.Fprintln(&b, "group", g, group, ok, c.Members(gid(g)), c.Requests(gid(g)))
		for u := range byte(6) {
			fmt.Fprintln(&b, u, c.IsMember(gid(g), uid(u)), c.Request(gid(g), uid(u)), c.LastRemoval(gid(g), uid(u)))
		}
		fmt.Fprintln(&b, "files", c.FileCount(gid(g)), slices.Collect(c.Files(gid(g), "")))
		for f := range byte(6) {
			file, ok := c.File(gid(g), fid(f))
			fmt.Fprintln(&b, f, file, ok, c.Shares(gid(g), fid(f)))
		}
	}
	blobs := slices.Collect(c.Blobs())
	slices.SortFunc(blobs, func(a, b protocol.FileID) int { return bytes.Compare(a[:], b[:]) })
	fmt.Fprintln(&b, blobs)
	return b.String()
}
