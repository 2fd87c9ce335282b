package catalog

import (
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
)

// Who makes and leaves groups of one name again and again leaves facts, but
// nothing that the next claim of the name has to look at.
func TestGoneGroupsDoNotRank(t *testing.T) {
	const origin = "A"
	c, ada := New(), protocol.UserID{1}
	wall := int64(1_700_000_000_000)
	merge := func(ds []Draft) {
		t.Helper()
		wall++
		for _, d := range ds {
			f := Fact{Key: d.Key, Value: d.Value, Stamp: protocol.Stamp{Wall: wall, Origin: origin}}
			if _, err := c.Merge(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	group := func(i int) protocol.GroupID { return protocol.GroupID{byte(i), byte(i >> 8), 1} }
	const rounds = 300
	for i := range rounds {
		merge(NewGroup(group(i), "Films", ada))
		if g, ok := c.GroupNamed("films"); !ok || g.ID != group(i) || g.Name != "Films" {
			t.Fatalf("round %d: films is %+v, %v", i, g, ok)
		}
		merge(c.Remove(group(i), ada, origin))
	}
	if n := len(c.groupNames.names); n != 0 {
		t.Errorf("%d names are remembered of groups that are gone", n)
	}
	// An old one comes back to life with its old claim, before a newer one.
	merge(NewGroup(group(rounds), "Films", ada))
	merge(c.Grant(group(7), ada))
	if g, ok := c.GroupNamed("films"); !ok || g.ID != group(7) {
		t.Errorf("films is %+v, %v, want the earliest that lives", g, ok)
	}
	if in := c.groupNames.inForce("films"); len(in) != 2 {
		t.Errorf("%d claims are in force, want 2", len(in))
	}
}
