package catalog

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/p2pshare/p2pshare/protocol"
)

// identifier is what claims a name.
type identifier interface {
	protocol.UserID | protocol.GroupID | protocol.FileID
	fmt.Stringer
}

// ranked is one of those that a name is claimed for.
type ranked[ID identifier] struct {
	id     ID
	since  protocol.Stamp
	holder protocol.UserID // whose claim it is, for the name of a file
}

func (r ranked[ID]) compare(s ranked[ID]) int {
	if d := r.since.Compare(s.since); d != 0 { // nearly always; the rest is costly
		return d
	}
	if d := bytes.Compare(r.holder[:], s.holder[:]); d != 0 {
		return d
	}
	return strings.Compare(r.id.String(), s.id.String())
}

// ranking is all that one name is claimed for and that is in force, the
// earliest first. The first has the name; the others are shown with digits of
// their ids behind it.
type ranking[ID identifier] []ranked[ID]

func (r ranking[ID]) index(id ID) int {
	return slices.IndexFunc(r, func(x ranked[ID]) bool { return x.id == id })
}

// suffix returns what the i-th is shown with behind the name: nothing for the
// first, else a tilde and the first digits of its id, as many as tell it from
// the others that are shown with digits, but at least 4.
func (r ranking[ID]) suffix(i int) string {
	if i == 0 {
		return ""
	}
	own, n := r[i].id.String(), 4
	for j := 1; j < len(r); j++ {
		if j == i {
			continue
		}
		for other := r[j].id.String(); n < len(own) && own[:n] == other[:n]; {
			n++
		}
	}
	return protocol.WithSuffix("", own) + own[4:n]
}

// shown returns the one that is shown with these digits, without if there are
// none. More digits than needed do no harm.
func (r ranking[ID]) shown(digits string) (i int, ok bool) {
	if digits == "" || len(r) == 0 {
		return 0, len(r) > 0
	}
	found := 0
	for i := 1; i < len(r); i++ {
		if strings.HasPrefix(r[i].id.String(), digits) {
			if found > 0 {
				return 0, false
			}
			found = i
		}
	}
	return found, found > 0
}

// after returns the places of those whose suffix comes after digits, in the
// order of their suffixes; all of them if all is set.
func (r ranking[ID]) after(digits string, all bool) []int {
	if len(r) == 1 {
		if all {
			return []int{0}
		}
		return nil
	}
	var out []int
	for i := range r {
		if all || strings.TrimPrefix(r.suffix(i), "~") > digits {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b int) int { return strings.Compare(r.suffix(a), r.suffix(b)) })
	return out
}

// registry is whose claims to each of the names of one kind are in force. Claims
// of those who are gone are facts and nothing else: however many there are, they
// cost nothing here.
type registry[ID identifier] struct {
	names map[string]ranking[ID]
}

func newRegistry[ID identifier]() registry[ID] {
	return registry[ID]{names: make(map[string]ranking[ID])}
}

// set says since when id has claimed a name, if its claim is in force.
func (r registry[ID]) set(name string, id ID, since protocol.Stamp, inForce bool) {
	in := r.names[name]
	if i := in.index(id); i >= 0 {
		in = slices.Delete(in, i, i+1)
	}
	if inForce {
		one := ranked[ID]{id: id, since: since}
		i, _ := slices.BinarySearchFunc(in, one, ranked[ID].compare)
		in = slices.Insert(in, i, one)
	}
	if len(in) == 0 {
		delete(r.names, name)
		return
	}
	r.names[name] = in
}

func (r registry[ID]) inForce(name string) ranking[ID] { return r.names[name] }

// suffixOf returns what id is shown with behind a name. One that has claimed
// it nowhere is shown like a later claimant.
func (r registry[ID]) suffixOf(name string, id ID) string {
	in := r.inForce(name)
	if i := in.index(id); i >= 0 {
		return in.suffix(i)
	}
	return protocol.WithSuffix("", id.String())
}

// isHeld reports whether a claim of id would come behind another one in force.
func (r ranking[ID]) isHeld(id ID) bool { return len(r) > 0 && r[0].id != id }

// splitShown takes a name as somebody typed it apart into the part that is
// unique without digits, and the digits in lower case.
func splitShown(name string) (base, digits string) {
	if i := strings.LastIndexByte(name, '~'); i >= 0 {
		name = name[:i] + strings.ToLower(name[i:])
	}
	base, digits, ok := protocol.SplitSuffix(name)
	if !ok {
		return name, ""
	}
	return base, digits
}
