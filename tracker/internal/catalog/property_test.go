package catalog_test

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/zeebo/blake3"
	"pgregory.net/rapid"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// origins are the trackers of the properties below.
var origins = []string{"A", "B", "C"}

// drawDrafts makes one change as a tracker that knows c would.
func drawDrafts(rt *rapid.T, c *catalog.Catalog, origin string) []catalog.Draft {
	u := uid(rapid.ByteRange(1, 3).Draw(rt, "user"))
	g := gid(rapid.ByteRange(1, 2).Draw(rt, "group"))
	f := rapid.ByteRange(1, 4).Draw(rt, "file")
	s := sid(rapid.ByteRange(0, 2).Draw(rt, "session"))
	sh := catalog.Share{Group: g, File: fid(f), User: u, Peer: rapid.SampledFrom([]string{"p", "q"}).Draw(rt, "peer")}
	// Files 1 to 3 have one name. File 4 has two, as only a hostile tracker can make it.
	name := []string{"", "Same", "same", "SAME", rapid.SampledFrom([]string{"other", "same"}).Draw(rt, "file name")}[f]
	switch rapid.IntRange(0, 14).Draw(rt, "change") {
	case 0:
		return catalog.NewAccount(u, rapid.SampledFrom([]string{"ada", "bob"}).Draw(rt, "name"), "$x")
	case 1:
		return c.NewPassword(u, rapid.SampledFrom([]string{"$x", "$y"}).Draw(rt, "phc"), rapid.Bool().Draw(rt, "reset"))
	case 2:
		return catalog.SetDisabled(u, rapid.Bool().Draw(rt, "off"))
	case 3:
		// One end for each session, as it is written at login.
		return catalog.NewSession(u, catalog.Session{ID: s, Device: "d", Client: rapid.SampledFrom([]string{"", "p"}).Draw(rt, "client"), Since: 1, Until: int64(s[0]) * 100 * minute})
	case 4:
		return catalog.RevokeSession(s, u, int64(s[0])*100*minute)
	case 5, 6:
		return catalog.NewGroup(g, rapid.SampledFrom([]string{"Club", "club", "Choir"}).Draw(rt, "name"), u)
	case 7:
		return catalog.SetRequest(g, u, catalog.RequestState(rapid.IntRange(1, 4).Draw(rt, "state")))
	case 8:
		return c.Grant(g, u)
	case 9:
		return c.Remove(g, u, origin)
	case 10:
		return c.Transfer(g, u)
	case 11:
		return c.StopShare(sh)
	case 12:
		v, _ := c.Verifier(u)
		return c.NewHash(u, v.Set, rapid.SampledFrom([]string{"$x2", "$y2"}).Draw(rt, "phc"))
	default:
		return c.ShareFile(sh, manifest(name), 10+int64(f))
	}
}

// drawFacts makes a history on three trackers that hear of each other's
// changes at times. Stamps are from a narrow range, so that many are equal,
// and have nothing to do with the order of the changes.
func drawFacts(rt *rapid.T) []catalog.Fact {
	know := map[string]*catalog.Catalog{}
	for _, o := range origins {
		know[o] = catalog.New()
	}
	var all []catalog.Fact
	for range rapid.IntRange(1, 60).Draw(rt, "changes") {
		origin := rapid.SampledFrom(origins).Draw(rt, "origin")
		stamp := protocol.Stamp{
			Wall:    rapid.Int64Range(1, 12).Draw(rt, "wall"),
			Logical: rapid.Uint32Range(0, 1).Draw(rt, "logical"),
			Origin:  origin,
		}
		for _, d := range drawDrafts(rt, know[origin], origin) {
			f := catalog.Fact{Key: d.Key, Value: d.Value, Stamp: stamp}
			all = append(all, f)
			for _, o := range origins {
				if o == origin || rapid.Bool().Draw(rt, "heard") {
					mergeOne(rt, know[o], f)
				}
			}
		}
	}
	return all
}

func mergeOne(rt *rapid.T, c *catalog.Catalog, f catalog.Fact) bool {
	changed, err := c.Merge(f)
	if err != nil {
		rt.Fatalf("merge %s: %v", f.Key, err)
	}
	return changed
}

func merged(rt *rapid.T, fs ...catalog.Fact) *catalog.Catalog {
	c := catalog.New()
	for _, f := range fs {
		mergeOne(rt, c, f)
	}
	return c
}

func TestAnyOrderGivesTheSame(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := drawFacts(rt)
		if len(all) == 0 {
			return
		}
		want := merged(rt, all...)
		again := rapid.Permutation(append(all, rapid.SliceOf(rapid.SampledFrom(all)).Draw(rt, "twice")...)).Draw(rt, "order")
		got := merged(rt, again...)
		if want.Root() != got.Root() {
			rt.Fatalf("roots differ")
		}
		if a, b := describe(want), describe(got); a != b {
			rt.Fatalf("views differ:\n%s\n---\n%s", a, b)
		}
		for _, f := range all {
			if mergeOne(rt, got, f) {
				rt.Fatalf("a fact that was merged changes something again: %s", f.Key)
			}
		}
		checkTree(rt, got)
	})
}

func TestJoinsAssociate(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := drawFacts(rt)
		parts := [3][]catalog.Fact{}
		for _, f := range all {
			i := rapid.IntRange(0, 2).Draw(rt, "part")
			parts[i] = append(parts[i], f)
		}
		x, y, z := merged(rt, parts[0]...), merged(rt, parts[1]...), merged(rt, parts[2]...)
		left := merged(rt, append(facts(merged(rt, append(facts(x), facts(y)...)...)), facts(z)...)...)
		right := merged(rt, append(facts(x), facts(merged(rt, append(facts(z), facts(y)...)...))...)...)
		if left.Root() != right.Root() || describe(left) != describe(right) {
			rt.Fatalf("(x y) z is not x (y z)")
		}
	})
}

// Time may pass at any moment between the merges: what counts is the last
// time, if nobody offers the expired ones any more.
func TestExpiryAgrees(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := drawFacts(rt)
		end := rapid.Int64Range(1, 400).Draw(rt, "end") * minute
		want := merged(rt, all...)
		want.Expire(end)
		got := catalog.New()
		for _, f := range all {
			mergeOne(rt, got, f)
			if rapid.Bool().Draw(rt, "time passes") {
				got.Expire(rapid.Int64Range(0, end).Draw(rt, "now"))
			}
		}
		got.Expire(end)
		if want.Root() != got.Root() {
			rt.Fatalf("roots differ")
		}
		checkTree(rt, got)
		got.Expire(end + 100*24*60*minute)
		for s := range byte(3) {
			if got.Revoked(sid(s)) {
				rt.Fatalf("revocation held for ever")
			}
		}
	})
}

// A removal at one tracker ends the membership, whatever the others did that
// had not seen it.
func TestRemovalBeatsAllConcurrent(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		base := drawFacts(rt)
		here, there := merged(rt, base...), merged(rt, base...)
		g, u := gid(1), uid(1)
		wall := int64(1000)
		change := func(c *catalog.Catalog, ds []catalog.Draft, origin string) {
			wall++
			for _, d := range ds {
				mergeOne(rt, c, catalog.Fact{Key: d.Key, Value: d.Value, Stamp: protocol.Stamp{Wall: wall, Origin: origin}})
			}
		}
		change(here, here.Grant(g, u), "A")
		for _, f := range facts(here) {
			mergeOne(rt, there, f)
		}
		change(here, here.Remove(g, u, "A"), "A")
		for range rapid.IntRange(0, 20).Draw(rt, "changes") {
			change(there, drawDrafts(rt, there, "B"), "B")
		}
		both := merged(rt, append(facts(here), facts(there)...)...)
		if both.IsMember(g, u) {
			rt.Fatalf("still a member")
		}
		for _, s := range both.SharesOf(u) {
			if s.Group == g {
				rt.Fatalf("a share of the removed one counts: %+v", s)
			}
		}
		if group, ok := both.Group(g); ok && group.Owner == u {
			rt.Fatalf("the removed one owns the group")
		}
	})
}

// Members are those of whom any grant has seen every removal, whatever the
// stamps of the grants. drawFacts has no grant that has seen a removal there is not.
func TestMemberIsWhomAnyGrantThatHasSeenAllLetsIn(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := drawFacts(rt)
		c := merged(rt, all...)
		for g := range byte(3) {
			for u := range byte(4) {
				in := gid(g).String() + "/" + uid(u).String()
				removals := under(all, catalog.Key("removed/"+in+"/"))
				want := false
				for _, grant := range under(all, catalog.Key("grant/"+in)) {
					want = want || merged(rt, append(removals, grant)...).IsMember(gid(g), uid(u))
				}
				if got := c.IsMember(gid(g), uid(u)); got != want {
					rt.Fatalf("user %d in group %d: member %v, want %v", u, g, got, want)
				}
			}
		}
	})
}

func under(all []catalog.Fact, prefix catalog.Key) (out []catalog.Fact) {
	for _, f := range all {
		if strings.HasPrefix(string(f.Key), string(prefix)) {
			out = append(out, f)
		}
	}
	return out
}

// checkTree holds the tree against sums over all facts, reckoned anew.
func checkTree(rt *rapid.T, c *catalog.Catalog) {
	type placed struct {
		place string
		hash  *big.Int
	}
	var all []placed
	places := make(map[catalog.Key]string)
	for _, f := range facts(c) {
		places[f.Key] = placeOf(f.Key)
		all = append(all, placed{places[f.Key], hashOf(f)})
	}
	var walk func(prefix string)
	walk = func(prefix string) {
		sum, n := new(big.Int), 0
		for _, f := range all {
			if strings.HasPrefix(f.place, prefix) {
				sum.Add(sum, f.hash)
				n++
			}
		}
		sum.And(sum, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1)))
		var want catalog.Digest
		sum.FillBytes(want[:])
		node, found := c.Root(), prefix == ""
		if !found {
			for _, kid := range c.Children(prefix[:len(prefix)-1]) {
				if kid.Prefix == prefix {
					node, found = kid, true
				}
			}
		}
		if found != (n > 0 || prefix == "") || found && (node.Digest != want || node.Facts != n) {
			rt.Fatalf("node %x: %v %+v, want %d facts with %x", prefix, found, node, n, want)
		}
		under := 0
		for f := range c.FactsUnder(prefix) {
			under++
			if !strings.HasPrefix(places[f.Key], prefix) {
				rt.Fatalf("%s is under %x", f.Key, prefix)
			}
		}
		if under != n {
			rt.Fatalf("%d facts under %x, want %d", under, prefix, n)
		}
		if n > 0 && len(prefix) < catalog.MaxDepth {
			for i := range 16 {
				walk(prefix + string(rune(i)))
			}
		}
	}
	walk("")
	if len(c.Children(strings.Repeat("\x00", catalog.MaxDepth))) > 0 || len(c.Children("\x10")) > 0 {
		rt.Fatalf("children of what is no inner node")
	}
}

func hashOf(f catalog.Fact) *big.Int {
	var b []byte
	b = append(binary.AppendUvarint(b, uint64(len(f.Key))), f.Key...)
	b = binary.BigEndian.AppendUint64(b, uint64(f.Stamp.Wall))
	b = binary.BigEndian.AppendUint32(b, f.Stamp.Logical)
	b = append(binary.AppendUvarint(b, uint64(len(f.Stamp.Origin))), f.Stamp.Origin...)
	h := blake3.Sum256(append(b, f.Value...))
	return new(big.Int).SetBytes(h[:16])
}

// placeOf returns the nibbles of a fact's place, as told in DESIGN.md.
func placeOf(k catalog.Key) string {
	s := strings.Split(string(k), "/")
	with := string(k)
	switch s[0] {
	case "user", "cred", "disabled", "session":
		with = "u/" + s[1]
	case "name":
		if s[1] == "user" {
			with = "u/" + s[3]
		}
	case "request", "removed", "grant":
		with = s[1] + "/" + s[2]
	case "share":
		with = s[1] + "/" + s[3]
	}
	h := blake3.Sum256([]byte(with))
	var out []byte
	for _, digit := range fmt.Sprintf("%x", h[:3]) {
		out = append(out, byte(strings.IndexRune("0123456789abcdef", digit)))
	}
	return string(out)
}
