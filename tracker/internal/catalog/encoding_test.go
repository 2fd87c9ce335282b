package catalog_test

import (
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// The encodings are on disks and between trackers of different builds.
func TestGoldenFacts(t *testing.T) {
	const (
		u1 = "01aabb00000000000000000000000000"
		u2 = "02aabb00000000000000000000000000"
		g1 = "01ccdd00000000000000000000000000"
		s1 = "01110000000000000000000000000000"
	)
	f1, f2 := "01eeff"+strings.Repeat("00", 29), "02eeff"+strings.Repeat("00", 29)
	w := newWorld(t, "A")
	a := w.all[0]
	w.wall = 999
	var got []catalog.Fact
	for _, build := range []func() []catalog.Draft{
		func() []catalog.Draft { return catalog.NewAccount(uid(1), "ada", "$argon2id$x") },
		func() []catalog.Draft { return a.c.NewPassword(uid(1), "$y", true) },
		func() []catalog.Draft { return catalog.SetDisabled(uid(1), true) },
		func() []catalog.Draft {
			return catalog.NewSession(uid(1), catalog.Session{ID: sid(1), Device: "pc", Since: 5, Until: 300})
		},
		func() []catalog.Draft {
			return catalog.NewSession(uid(1), catalog.Session{ID: sid(1), Device: "pc", Since: 5, Until: 301, Client: "Q"})
		},
		func() []catalog.Draft {
			v, _ := a.c.Verifier(uid(1))
			return a.c.NewHash(uid(1), v.Set, "$z")
		},
		func() []catalog.Draft { return catalog.RevokeSession(sid(1), uid(1), 300) },
		func() []catalog.Draft { return catalog.NewGroup(gid(1), "My Club", uid(1)) },
		func() []catalog.Draft { return catalog.SetRequest(gid(1), uid(2), catalog.RequestOpen) },
		func() []catalog.Draft { return a.c.Grant(gid(1), uid(2)) },
		func() []catalog.Draft { return a.c.Remove(gid(1), uid(2), "A") },
		func() []catalog.Draft { return a.c.Grant(gid(1), uid(2)) },
		func() []catalog.Draft { return a.c.Transfer(gid(1), uid(2)) },
		func() []catalog.Draft { return a.share(2, 1, "Ä b.txt") },
		func() []catalog.Draft { return a.share(2, 2, "Ä b.txt") },
		func() []catalog.Draft { return a.c.StopShare(shareOf(2, 1)) },
	} {
		got = append(got, a.do(build())...)
	}
	sha := strings.Repeat("00", 20)
	seen := "01" + "f207" + "00" + "0141" // one removal: wall 1010, logical 0, by A
	tests := []struct{ key, value string }{
		{"user/" + u1, "03616461"},
		{"cred/" + u1, "0000" + "0b" + hex.EncodeToString([]byte("$argon2id$x"))},
		{"name/user/ada/" + u1, ""},
		{"cred/" + u1, "0100" + "022479"},
		{"disabled/" + u1, "01"},
		{"session/" + u1 + "/" + s1, "027063" + "05" + "ac02"},
		{"session/" + u1 + "/" + s1, "027063" + "05" + "ad02" + "0151"},
		{"cred/" + u1, "0100" + "02247a" + "e907" + "00" + "0141"}, // its password was set at wall 1001
		{"revoked/" + s1, u1 + "ac02"},
		{"group/" + g1, "07" + hex.EncodeToString([]byte("My Club")) + u1},
		{"name/group/my club/" + g1, ""},
		{"grant/" + g1 + "/" + u1, "00"},
		{"request/" + g1 + "/" + u2, "01"},
		{"grant/" + g1 + "/" + u2, "00"},
		{"request/" + g1 + "/" + u2, "02"},
		{"removed/" + g1 + "/" + u2 + "/A", ""},
		{"grant/" + g1 + "/" + u2, seen},
		{"owner/" + g1, u2 + seen},
		{"file/" + g1 + "/" + f1, "08" + hex.EncodeToString([]byte("Ä b.txt")) + "05" + sha + "64" + u2},
		{"share/" + g1 + "/" + f1 + "/" + u2 + "/peer2", "01" + seen},
		{"filename/" + g1 + "/ä b.txt/" + u2, "00" + f1},
		{"file/" + g1 + "/" + f2, "08" + hex.EncodeToString([]byte("Ä b.txt")) + "05" + sha + "64" + u2},
		{"share/" + g1 + "/" + f2 + "/" + u2 + "/peer2", "01" + seen},
		{"filename/" + g1 + "/ä b.txt/" + u2, "f507" + "00" + "0141" + f2},
		{"share/" + g1 + "/" + f1 + "/" + u2 + "/peer2", "00" + seen},
	}
	if len(got) != len(tests) {
		t.Fatalf("%d facts, want %d", len(got), len(tests))
	}
	for i, want := range tests {
		if string(got[i].Key) != want.key || hex.EncodeToString(got[i].Value) != want.value {
			t.Errorf("fact %d is\n%s %x, want\n%s %s", i, got[i].Key, got[i].Value, want.key, want.value)
		}
	}
	const root = "03520b9b27a9c7bf401c016b1bc9811a"
	if d := a.c.Root().Digest; hex.EncodeToString(d[:]) != root {
		t.Errorf("root %x, want %s", d, root)
	}
}

func TestRefused(t *testing.T) {
	u, g := uid(1).String(), gid(1).String()
	f := fid(1).String()
	good := protocol.Stamp{Wall: 1, Origin: "A"}
	tests := []struct {
		name string
		fact catalog.Fact
	}{
		{"no key", catalog.Fact{Stamp: good}},
		{"unknown kind", catalog.Fact{Key: "planet/" + catalog.Key(u), Stamp: good}},
		{"short id", catalog.Fact{Key: catalog.Key("disabled/" + u[2:]), Value: []byte{1}, Stamp: good}},
		{"upper-case id", catalog.Fact{Key: catalog.Key("disabled/" + strings.ToUpper(u)), Value: []byte{1}, Stamp: good}},
		{"segment too many", catalog.Fact{Key: catalog.Key("disabled/" + u + "/"), Value: []byte{1}, Stamp: good}},
		{"segment too few", catalog.Fact{Key: catalog.Key("request/" + g), Value: []byte{1}, Stamp: good}},
		{"flag of 2", catalog.Fact{Key: catalog.Key("disabled/" + u), Value: []byte{2}, Stamp: good}},
		{"empty value", catalog.Fact{Key: catalog.Key("disabled/" + u), Stamp: good}},
		{"bytes behind the value", catalog.Fact{Key: catalog.Key("disabled/" + u), Value: []byte{1, 0}, Stamp: good}},
		{"overlong number", catalog.Fact{Key: catalog.Key("disabled/" + u), Value: []byte{0x81, 0}, Stamp: good}},
		{"value too long", catalog.Fact{Key: catalog.Key("grant/" + g + "/" + u), Value: make([]byte, protocol.MaxFactValue+1), Stamp: good}},
		{"no stamp", catalog.Fact{Key: catalog.Key("disabled/" + u), Value: []byte{1}}},
		{"stamp of nobody", catalog.Fact{Key: catalog.Key("disabled/" + u), Value: []byte{1}, Stamp: protocol.Stamp{Wall: 1}}},
		{"removal stamped by another", catalog.Fact{Key: catalog.Key("removed/" + g + "/" + u + "/B"), Stamp: good}},
		{"user name in upper case", catalog.Fact{Key: catalog.Key("name/user/Ada/" + u), Stamp: good}},
		{"user name with a suffix", catalog.Fact{Key: catalog.Key("name/user/ada~01aa/" + u), Stamp: good}},
		{"group name in upper case", catalog.Fact{Key: catalog.Key("name/group/Club/" + g), Stamp: good}},
		{"name of a planet", catalog.Fact{Key: catalog.Key("name/planet/mars/" + g), Stamp: good}},
		{"account with a bad name", catalog.Fact{Key: catalog.Key("user/" + u), Value: []byte("\x03a/b"), Stamp: good}},
		{"group with a bad name", catalog.Fact{Key: catalog.Key("group/" + g), Value: append([]byte("\x02 a"), make([]byte, 16)...), Stamp: good}},
		{"request in no state", catalog.Fact{Key: catalog.Key("request/" + g + "/" + u), Value: []byte{0}, Stamp: good}},
		{"request in state 5", catalog.Fact{Key: catalog.Key("request/" + g + "/" + u), Value: []byte{5}, Stamp: good}},
		{"removals of one tracker twice", catalog.Fact{Key: catalog.Key("grant/" + g + "/" + u), Value: []byte("\x02\x01\x00\x01A\x02\x00\x01A"), Stamp: good}},
		{"removals out of order", catalog.Fact{Key: catalog.Key("grant/" + g + "/" + u), Value: []byte("\x02\x01\x00\x01B\x02\x00\x01A"), Stamp: good}},
		{"removal without a stamp", catalog.Fact{Key: catalog.Key("grant/" + g + "/" + u), Value: []byte("\x01\x00"), Stamp: good}},
		{"empty verifier", catalog.Fact{Key: catalog.Key("cred/" + u), Value: []byte{0, 0, 0}, Stamp: good}},
		{"verifier with a line break", catalog.Fact{Key: catalog.Key("cred/" + u), Value: []byte("\x00\x00\x02$\n"), Stamp: good}},
		{"claim with an escape sequence", catalog.Fact{Key: catalog.Key("filename/" + g + "/a\x1b[2J/" + u), Value: append([]byte{0}, make([]byte, 32)...), Stamp: good}},
		{"claim of nothing", catalog.Fact{Key: catalog.Key("filename/" + g + "//" + u), Value: append([]byte{0}, make([]byte, 32)...), Stamp: good}},
		{"share from nowhere", catalog.Fact{Key: catalog.Key("share/" + g + "/" + f + "/" + u + "/"), Value: []byte{1, 0}, Stamp: good}},
		{"file with a bad name", catalog.Fact{Key: catalog.Key("file/" + g + "/" + f), Value: append([]byte("\x02..\x00"), make([]byte, 37)...), Stamp: good}},
	}
	c := catalog.New()
	for _, test := range tests {
		if changed, err := c.Merge(test.fact); changed || err == nil {
			t.Errorf("%s: merged (%v)", test.name, changed)
		}
		if catalog.Check(test.fact) == nil {
			t.Errorf("%s: passes the check", test.name)
		}
	}
	if c.Len() != 0 || c.Root().Facts != 0 {
		t.Errorf("%d facts", c.Len())
	}
}

// Every file name that is allowed can be claimed.
func TestFoldedNamesAreClaimable(t *testing.T) {
	c := catalog.New()
	for r := range rune(0x20000) { // no script beyond has letters of two cases
		if unicode.In(r, unicode.Han, unicode.Hangul) {
			continue
		}
		if canonical, err := protocol.CanonicalFile(string(r)); err != nil || canonical == string(r) {
			continue // what folding does not change is claimable as it is
		}
		name := strings.Repeat(string(r), 200/len(string(r)))
		if _, err := protocol.CanonicalFile(name); err != nil {
			continue
		}
		for _, d := range c.ShareFile(shareOf(1, 1), manifest(name), 1) {
			if err := catalog.Check(catalog.Fact{Key: d.Key, Value: d.Value, Stamp: protocol.Stamp{Wall: 1, Origin: "A"}}); err != nil {
				t.Fatalf("%U: %v", r, err)
			}
		}
	}
}

func TestMeaning(t *testing.T) {
	w := newWorld(t, "A")
	a := w.all[0]
	w.club(t, 2)
	tests := []struct {
		name string
		do   []catalog.Draft
		want catalog.Meaning // of the last draft
	}{
		{"account", catalog.NewAccount(uid(3), "eve", "$x")[:1], catalog.Meaning{Kind: catalog.KindUser, User: uid(3), Name: "eve"}},
		{"claim of a user name", catalog.NewAccount(uid(3), "eve", "$x"), catalog.Meaning{Kind: catalog.KindUserName, User: uid(3), Name: "eve"}},
		{"verifier", a.c.NewPassword(uid(1), "$x", false), catalog.Meaning{Kind: catalog.KindVerifier, User: uid(1)}},
		{"disabled", catalog.SetDisabled(uid(1), true), catalog.Meaning{Kind: catalog.KindDisabled, User: uid(1), On: true}},
		{
			"session", catalog.NewSession(uid(1), catalog.Session{ID: sid(1), Until: 9}),
			catalog.Meaning{Kind: catalog.KindSession, User: uid(1), Session: sid(1), Until: 9},
		},
		{
			"revocation", catalog.RevokeSession(sid(1), uid(1), 9),
			catalog.Meaning{Kind: catalog.KindRevoked, User: uid(1), Session: sid(1), Until: 9},
		},
		{"group", catalog.NewGroup(gid(2), "Choir", uid(1))[:1], catalog.Meaning{Kind: catalog.KindGroup, Group: gid(2), User: uid(1), Name: "Choir"}},
		{"claim of a group name", catalog.NewGroup(gid(2), "Choir", uid(1))[:2], catalog.Meaning{Kind: catalog.KindGroupName, Group: gid(2), Name: "choir"}},
		{
			"request", catalog.SetRequest(gid(1), uid(3), catalog.RequestOpen),
			catalog.Meaning{Kind: catalog.KindRequest, Group: gid(1), User: uid(3), Request: catalog.RequestOpen},
		},
		{"grant", a.c.Grant(gid(1), uid(3)), catalog.Meaning{Kind: catalog.KindGrant, Group: gid(1), User: uid(3)}},
		{"removal", a.c.Remove(gid(1), uid(2), "A"), catalog.Meaning{Kind: catalog.KindRemoved, Group: gid(1), User: uid(2), Peer: "A"}},
		{"transfer", a.c.Transfer(gid(1), uid(2)), catalog.Meaning{Kind: catalog.KindOwner, Group: gid(1), User: uid(2)}},
		{"file", a.share(2, 1, "X")[:1], catalog.Meaning{Kind: catalog.KindFile, Group: gid(1), File: fid(1), User: uid(2), Name: "X"}},
		{
			"share", a.share(2, 1, "X")[:2],
			catalog.Meaning{Kind: catalog.KindShare, Group: gid(1), File: fid(1), User: uid(2), Peer: "peer2", On: true},
		},
		{"claim of a file name", a.share(2, 1, "X"), catalog.Meaning{Kind: catalog.KindFileName, Group: gid(1), File: fid(1), User: uid(2), Name: "x"}},
	}
	for _, test := range tests {
		d := test.do[len(test.do)-1]
		got, err := catalog.Parse(catalog.Fact{Key: d.Key, Value: d.Value, Stamp: protocol.Stamp{Wall: 1, Origin: "A"}})
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v (%v), want %+v", test.name, got, err, test.want)
		}
		if catalog.IsVerifier(d.Key) != (test.want.Kind == catalog.KindVerifier) {
			t.Errorf("%s: verifier or not is wrong", test.name)
		}
	}
	if _, err := catalog.Parse(catalog.Fact{Key: "x"}); err == nil {
		t.Error("a broken fact has a meaning")
	}
}
