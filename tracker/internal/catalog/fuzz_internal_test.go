package catalog

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/p2pshare/p2pshare/internal/frugal"
	"github.com/p2pshare/p2pshare/protocol"
)

// FuzzMerge gives a catalog that has something in it arbitrary facts: they are
// refused and change nothing, or their value has exactly this one encoding and
// everything can still be viewed.
func FuzzMerge(f *testing.F) {
	var u protocol.UserID
	var g protocol.GroupID
	m := &protocol.Manifest{Name: "a", Size: 1, PieceLength: protocol.MinPieceLength}
	seed := New()
	for i, d := range concat(
		NewAccount(u, "ada", "$x"), SetDisabled(u, true), NewSession(u, Session{Device: "d", Until: 1 << 40}),
		RevokeSession(protocol.SessionID{}, u, 1<<40), NewGroup(g, "Club", u), SetRequest(g, u, RequestOpen),
		seed.ShareFile(Share{Group: g, User: u, Peer: "p"}, m, 10), seed.Transfer(g, u),
		[]Draft{
			{Key: groupUserKey("removed", g, u) + "/A"},
			draft(groupUserKey("grant", g, u), grantValue{seen: []protocol.Stamp{{Wall: 3, Origin: "A"}, {Wall: 5, Logical: 300, Origin: "B"}}}),
			draft(fileNameKey(g, "a b", u), claimValue{since: protocol.Stamp{Wall: 3, Origin: "A"}}),
		},
	) {
		if _, err := seed.Merge(Fact{Key: d.Key, Value: d.Value, Stamp: protocol.Stamp{Wall: 1 + int64(i), Origin: "A"}}); err != nil {
			f.Fatal(err)
		}
		f.Add(string(d.Key), d.Value, int64(1), uint32(0), "A")
		f.Add(string(d.Key), d.Value, int64(1<<40), uint32(9), "B")
		f.Add(string(d.Key)+"/", append(d.Value, 0), int64(0), uint32(0), "")
	}
	all := make([]Fact, 0, seed.Len())
	for fact := range seed.FactsUnder("") {
		all = append(all, fact)
	}
	f.Fuzz(func(t *testing.T, key string, value []byte, wall int64, logical uint32, origin string) {
		defer frugal.Check(t)()
		c := New()
		for _, fact := range all {
			if _, err := c.Merge(fact); err != nil {
				t.Fatal(err)
			}
		}
		before := c.Root()
		fact := Fact{Key: Key(key), Value: value, Stamp: protocol.Stamp{Wall: wall, Logical: logical, Origin: origin}}
		changed, err := c.Merge(fact)
		if changed != (c.Root() != before) || (err == nil) != (Check(fact) == nil) || err != nil && changed {
			t.Fatalf("changed %v, err %v, root changed %v", changed, err, c.Root() != before)
		}
		if err != nil {
			return
		}
		p, v, _ := parse(fact)
		if got := encode(v); !bytes.Equal(got, value) {
			t.Fatalf("%x is encoded again as %x", value, got)
		}
		if again, err := c.Merge(fact); again || err != nil {
			t.Fatalf("merging it again: %v %v", again, err)
		}
		if _, err := Parse(fact); err != nil {
			t.Fatal(err)
		}
		viewAll(c, p)
		c.Expire(1 << 60)
		viewAll(c, p)
	})
}

func concat(lists ...[]Draft) (out []Draft) {
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

func viewAll(c *Catalog, p parts) {
	c.User(p.user)
	c.Sessions(p.user)
	c.GroupsOf(p.user)
	c.SharesOf(p.user)
	c.Members(p.group)
	c.Requests(p.group)
	c.Shares(p.group, p.file)
	c.UserNamed(p.name)
	c.GroupNamed(p.name)
	c.FileNamed(p.group, p.name)
	for g := range c.Groups("") {
		for file := range c.Files(g.ID, "") {
			c.FileNamed(g.ID, file.Name)
		}
	}
	for range c.FactsUnder("\x03") {
		c.Children("\x03")
	}
}

// FuzzKey holds that a key which is accepted is spelled in the one way in which
// this package would spell it.
func FuzzKey(f *testing.F) {
	id := strings.Repeat("0f", 16)
	for _, k := range []string{"user/", "cred/", "revoked/", "group/", "owner/", "name/user/ada/", "name/group/my club/", "session/" + id + "/", "filename/" + id + "/é x/"} {
		f.Add(k + id)
	}
	f.Add("share/" + id + "/" + id + id + "/" + id + "/12D3KooW")
	f.Fuzz(func(t *testing.T, k string) {
		defer frugal.Check(t)()
		p, err := parseKey(Key(k))
		if err != nil {
			return
		}
		for _, id := range []string{p.user.String(), p.group.String(), p.session.String(), p.file.String()} {
			if raw, _ := hex.DecodeString(id); bytes.Count(raw, []byte{0}) < len(raw) && !strings.Contains(k, id) {
				t.Fatalf("%q does not spell %s", k, id)
			}
		}
		if placeOf(p, Key(k))>>(4*MaxDepth) != 0 {
			t.Fatal("place has too many nibbles")
		}
	})
}
