package sim

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

// model is what the users know: what was answered to them, which passwords they
// have set, whom they have removed.
type model struct {
	mu        sync.Mutex
	acked     []answered
	passwords map[protocol.UserID]map[string]bool
	admitted  map[inGroup][]knowledge // what each grant that was tried had seen
	refused   map[string]int          // by code
	lost      int                     // answers that named one disk alone, which was then lost
}

// answered is a change that a tracker has answered.
type answered struct {
	what  string
	facts []catalog.Fact
	blobs []protocol.FileID
	on    int // disks, as the answer said
}

type inGroup struct {
	group protocol.GroupID
	user  protocol.UserID
}

// knowledge is which removals of one user from one group were known, by key.
type knowledge map[catalog.Key]protocol.Stamp

func newModel() *model {
	return &model{
		passwords: map[protocol.UserID]map[string]bool{}, admitted: map[inGroup][]knowledge{},
		refused: map[string]int{},
	}
}

func (m *model) setPassword(u protocol.UserID, phc string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.passwords[u] == nil {
		m.passwords[u] = map[string]bool{}
	}
	m.passwords[u][phc] = true
}

func (m *model) admit(in inGroup, k knowledge) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.admitted[in] = append(m.admitted[in], k)
}

func (m *model) answer(a answered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.acked = append(m.acked, a)
}

func (m *model) refuse(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case errors.Is(err, errNothing):
	case errors.Is(err, context.DeadlineExceeded):
		m.refused["too late"]++
	default:
		m.refused[string(protocol.CodeOf(err))]++
	}
}

// count returns how many changes were answered.
func (m *model) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.acked)
}

// holding is a catalog that can be asked for answered changes.
type holding struct {
	facts   []catalog.Fact
	scratch *catalog.Catalog         // of facts
	blobs   map[protocol.FileID]bool // nil: they are not asked for
}

func hold(c *catalog.Catalog) *holding {
	return &holding{facts: slices.Collect(c.FactsUnder("")), scratch: rebuilt(c)}
}

// holdDisk is hold for what a restart would find, manifests included.
func (w *world) holdDisk(log []store.Batch) *holding {
	w.t.Helper()
	h := hold(w.readDisk(log))
	h.blobs = map[protocol.FileID]bool{}
	for _, b := range log {
		for _, id := range b.DeleteBlobs {
			delete(h.blobs, id)
		}
		for id := range b.Blobs {
			h.blobs[id] = true
		}
	}
	return h
}

// has reports whether all facts of a change are there, or what came later.
// Merging shows it: nothing changes.
func (h *holding) has(a *answered) bool {
	for _, id := range a.blobs {
		if h.blobs != nil && !h.blobs[id] {
			return false
		}
	}
	// Most are found, or missing altogether, without it.
	rest := slices.DeleteFunc(slices.Clone(a.facts), func(f catalog.Fact) bool {
		g, ok := h.scratch.Get(f.Key)
		return ok && g.Stamp == f.Stamp && bytes.Equal(g.Value, f.Value)
	})
	lacks := slices.ContainsFunc(rest, func(f catalog.Fact) bool {
		changed, err := h.scratch.Merge(f)
		return changed || err != nil
	})
	if lacks {
		h.scratch = catalogOf(h.facts)
	}
	return !lacks
}

// atStake returns the answered changes that would be lost with a disk of which
// only kept is left, split by whether they were promised to survive that.
func (m *model) atStake(kept *holding, others []*holding) (promised, alone []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.acked {
		a := &m.acked[i]
		if kept.has(a) || slices.ContainsFunc(others, func(h *holding) bool { return h.has(a) }) {
			continue
		}
		if a.on > 1 {
			promised = append(promised, i)
		} else {
			alone = append(alone, i)
		}
	}
	return promised, alone
}

// forget drops answers that were lost with the one disk that had them.
func (m *model) forget(which []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var kept []answered
	for i, a := range m.acked {
		if !slices.Contains(which, i) {
			kept = append(kept, a)
		}
	}
	m.acked = kept
	m.lost += len(which)
}

// check returns what is wrong with a catalog at rest.
func (m *model) check(c *catalog.Catalog) (wrong []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	here := hold(c)
	if here.scratch.Root() != c.Root() {
		wrong = append(wrong, "the digest is not that of the facts")
	}
	for i := range m.acked {
		if a := &m.acked[i]; !here.has(a) {
			wrong = append(wrong, fmt.Sprintf("lost, though answered (on %d disks): %s %v", a.on, a.what, keys(a.facts)))
		}
	}
	for u, set := range m.passwords {
		if v, ok := c.Verifier(u); ok && !set[v.PHC] {
			wrong = append(wrong, fmt.Sprintf("user %s has a password that user never set", u))
		}
	}
	return append(append(wrong, m.checkRemovals(c)...), m.checkGrants(c, here.facts)...)
}

// checkGrants finds who is no member although a grant was answered that has seen
// every removal.
func (m *model) checkGrants(c *catalog.Catalog, facts []catalog.Fact) (wrong []string) {
	removals := map[inGroup][]catalog.Fact{}
	for _, f := range facts {
		if in, ok := removalOf(f.Key); ok {
			removals[in] = append(removals[in], f)
		}
	}
	for _, a := range m.acked {
		for _, f := range a.facts {
			in, ok := placeOf(f.Key, "grant", 3)
			if ok && !c.IsMember(in.group, in.user) &&
				catalogOf(append(slices.Clone(removals[in]), f)).IsMember(in.group, in.user) {
				wrong = append(wrong, fmt.Sprintf("let in, with all removals known, and no member: %s of %s", f.Key, f.Stamp))
			}
		}
	}
	return wrong
}

// checkRemovals finds who is a member although a removal was answered that no
// grant has seen.
func (m *model) checkRemovals(c *catalog.Catalog) (wrong []string) {
	for _, a := range m.acked {
		for _, f := range a.facts {
			in, ok := removalOf(f.Key)
			if !ok || !c.IsMember(in.group, in.user) {
				continue
			}
			if !slices.ContainsFunc(m.admitted[in], func(k knowledge) bool {
				return !f.Stamp.After(k[f.Key])
			}) {
				wrong = append(wrong, fmt.Sprintf("a removed member is back: %s", f.Key))
			}
		}
	}
	return wrong
}

// rebuilt makes the catalog of the same facts.
func rebuilt(c *catalog.Catalog) *catalog.Catalog {
	return catalogOf(slices.Collect(c.FactsUnder("")))
}

func catalogOf(facts []catalog.Fact) *catalog.Catalog {
	out := catalog.New()
	for _, f := range facts {
		if _, err := out.Merge(f); err != nil {
			panic(err)
		}
	}
	return out
}

func keys(facts []catalog.Fact) (out []catalog.Key) {
	for _, f := range facts {
		out = append(out, f.Key)
	}
	return out
}

// removalOf reads removed/<gid>/<uid>/<tracker>.
func removalOf(k catalog.Key) (in inGroup, ok bool) { return placeOf(k, "removed", 4) }

// placeOf returns whom in which group a key of some kind and so many parts is about.
func placeOf(k catalog.Key, kind string, parts int) (in inGroup, ok bool) {
	part := strings.Split(string(k), "/")
	if len(part) != parts || part[0] != kind {
		return in, false
	}
	var err, err2 error
	in.group, err = protocol.ParseID[protocol.GroupID](part[1])
	in.user, err2 = protocol.ParseID[protocol.UserID](part[2])
	return in, err == nil && err2 == nil
}

// seen returns which removals a catalog has.
func (w *world) seen(c *catalog.Catalog, in inGroup) knowledge {
	w.mu.Lock()
	ids := slices.Clone(w.ids)
	w.mu.Unlock()
	k := knowledge{}
	for _, id := range ids {
		key := catalog.Key("removed/" + in.group.String() + "/" + in.user.String() + "/" + id.String())
		if f, ok := c.Get(key); ok {
			k[key] = f.Stamp
		}
	}
	return k
}

// factOf reads a stored fact: version, wall, logical, length of the origin,
// origin, value.
func factOf(r store.Record) (f catalog.Fact, err error) {
	b := r.Value
	var n [4]uint64
	for i := range n {
		v, used := binary.Uvarint(b)
		if used <= 0 {
			return f, errors.New("a stored fact is cut short")
		}
		n[i], b = v, b[used:]
	}
	return catalog.Fact{
		Key: catalog.Key(r.Key), Value: b[n[3]:],
		Stamp: protocol.Stamp{Wall: int64(n[1]), Logical: uint32(n[2]), Origin: string(b[:n[3]])},
	}, nil
}
