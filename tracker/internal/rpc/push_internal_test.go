package rpc

import (
	"fmt"
	"slices"
	"testing"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
)

// side is the catalog of one side of a cut.
type side struct {
	*catalog.Catalog
	t      *testing.T
	origin string
	wall   int64
}

// write stamps drafts later than all before, and returns the facts.
func (s *side) write(drafts []catalog.Draft) []catalog.Fact {
	s.t.Helper()
	var out []catalog.Fact
	for _, d := range drafts {
		s.wall++
		f := catalog.Fact{Key: d.Key, Value: d.Value, Stamp: protocol.Stamp{Wall: s.wall, Origin: s.origin}}
		s.take(f)
		out = append(out, f)
	}
	return out
}

func (s *side) take(facts ...catalog.Fact) {
	s.t.Helper()
	for _, f := range facts {
		if _, err := s.Merge(f); err != nil {
			s.t.Fatal(err)
		}
	}
}

// On both sides of a cut a member is removed and let in again; the later grant
// comes here before the removal that it has seen, and takes the place of the one
// that has seen the removal here. Whoever was told of the membership must hear
// that it has ended.
func TestGrantThatEndsAMembership(t *testing.T) {
	here := &side{Catalog: catalog.New(), t: t, origin: "a", wall: 1}
	there := &side{Catalog: catalog.New(), t: t, origin: "b", wall: 1000}
	g, ada, bob := protocol.GroupID{1}, protocol.UserID{2}, protocol.UserID{3}
	common := slices.Concat(here.write(catalog.NewAccount(ada, "ada", "x")), here.write(catalog.NewAccount(bob, "bob", "x")),
		here.write(catalog.NewGroup(g, "g", ada)))
	there.take(common...)
	there.take(here.write(here.Grant(g, bob))...)
	here.write(here.Remove(g, bob, here.origin))
	here.write(here.Grant(g, bob))
	if !here.IsMember(g, bob) {
		t.Fatal("bob is not in")
	}
	there.write(there.Remove(g, bob, there.origin))
	news := there.write(there.Grant(g, bob))
	here.take(news...)
	if here.IsMember(g, bob) {
		t.Fatal("the grant ends nothing, so this shows nothing")
	}

	h := newHub(&Server{cfg: Config{MaxClients: 1}})
	a, err := h.add(&call{remote: remote{text: "p"}, user: catalog.User{ID: ada}})
	if err != nil {
		t.Fatal(err)
	}
	b := &batch{pusher: &h.push, c: here.Catalog, drops: newDrops()}
	for _, f := range news {
		m, err := catalog.Parse(f)
		if err != nil {
			t.Fatal(err)
		}
		b.fact(m, f.Stamp)
	}
	for _, send := range b.sends {
		send()
	}
	select {
	case e := <-a.events:
		if m := e.GetMember(); m.GetKind() != pb.MemberChange_KIND_REMOVED || m.GetUser() != "bob" {
			t.Errorf("the owner is told %v, want that bob is out", e)
		}
	default:
		t.Error("nobody is told that bob is out")
	}
	lease := presence.Lease{User: bob}
	if b.drops.match(lease, presence.Offer{}) || !b.drops.match(lease, presence.Offer{FileRef: presence.FileRef{Group: g}}) {
		t.Error("what bob offers in the group, and no more, must go")
	}
}

func TestSomeAreTold(t *testing.T) {
	var all []string
	for i := range 4 * protocol.MaxSeeders {
		all = append(all, fmt.Sprintf("p%03d", i))
	}
	told := map[string]bool{}
	for range 100 {
		got := some(slices.Clone(all))
		slices.Sort(got)
		if len(got) != protocol.MaxSeeders || len(slices.Compact(got)) != protocol.MaxSeeders {
			t.Fatalf("%d are told, want %d different ones", len(got), protocol.MaxSeeders)
		}
		for _, p := range got {
			told[p] = true
		}
	}
	// That one of 200 is never among the 50 has a chance of 200 * 0.75^100.
	if len(told) != len(all) {
		t.Errorf("%d of %d are ever told", len(told), len(all))
	}
	few := all[:3]
	if got := some(slices.Clone(few)); len(got) != len(few) {
		t.Errorf("%d of %d are told", len(got), len(few))
	}
}
