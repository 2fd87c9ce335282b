package catalog

import (
	"iter"
	"slices"

	"github.com/p2pshare/p2pshare/protocol"
)

// File is a file with a name in force in a group.
type File struct {
	Group    protocol.GroupID
	ID       protocol.FileID
	Name     string // as shown in the group
	Original string // as the manifest has it
	Size     int64
	SHA1     protocol.SHA1
	Holder   protocol.UserID // of the name
	Bytes    int64           // of the manifest
}

// groupFiles is the files of one group and their names.
type groupFiles struct {
	files map[protocol.FileID]*fileState
	names map[string]*fileName
	order ordered // canonical names in force
	shown int     // files with a name in force
}

// fileState is what is known of a file in one group, in whatever order it came.
type fileState struct {
	name      string // as the manifest has it; "" as long as there is no file fact
	canonical string
	size      int64
	sha1      protocol.SHA1
	manifest  int64 // bytes
	counting  []*share
}

// fileName is who claims one name in one group.
type fileName struct {
	claims  map[protocol.UserID]fileClaim
	inForce ranking[protocol.FileID]
}

type fileClaim struct {
	file  protocol.FileID
	since protocol.Stamp
}

func (g *groupState) file(id protocol.FileID) *fileState {
	f := g.files.files[id]
	if f == nil {
		f = &fileState{}
		if g.files.files == nil {
			g.files.files = make(map[protocol.FileID]*fileState)
		}
		g.files.files[id] = f
	}
	return f
}

func (c *Catalog) setFile(p parts, v fileValue, old Fact) {
	if before, ok := valueOf(KindFile, old).(fileValue); ok && old.Key != "" {
		c.user(before.sharer).manifests -= before.manifest
	} else {
		c.blobs[p.file]++
	}
	c.user(v.sharer).manifests += v.manifest

	g := c.group(p.group)
	f := g.file(p.file)
	before := f.canonical
	f.name, f.size, f.sha1, f.manifest = v.name, v.size, v.sha1, v.manifest
	f.canonical, _ = protocol.CanonicalFile(v.name) // checked when it was decoded
	if before != "" && before != f.canonical {
		c.refreshFileName(g, before)
	}
	c.refreshFileName(g, f.canonical)
}

func (c *Catalog) setClaim(p parts, v claimValue, s protocol.Stamp) {
	g := c.group(p.group)
	n := g.files.names[p.name]
	if n == nil {
		n = &fileName{claims: make(map[protocol.UserID]fileClaim, 1)}
		if g.files.names == nil {
			g.files.names = make(map[string]*fileName)
		}
		g.files.names[p.name] = n
	}
	if v.since.IsZero() {
		v.since = s
	}
	n.claims[p.user] = fileClaim{file: v.file, since: v.since}
	c.refreshFileName(g, p.name)
}

// refreshFileName works out which claims of a name are in force. A file that
// several claim is shown once, held since the earliest of those claims.
func (c *Catalog) refreshFileName(g *groupState, name string) {
	n := g.files.names[name]
	if n == nil {
		return
	}
	before := len(n.inForce)
	n.inForce = n.inForce[:0]
	for uid, claim := range n.claims {
		f := g.files.files[claim.file]
		if f == nil || f.canonical != name || len(f.counting) == 0 {
			continue
		}
		r := ranked[protocol.FileID]{id: claim.file, since: claim.since, holder: uid}
		if i := n.inForce.index(claim.file); i < 0 {
			n.inForce = append(n.inForce, r)
		} else if r.compare(n.inForce[i]) < 0 {
			n.inForce[i] = r
		}
	}
	slices.SortFunc(n.inForce, ranked[protocol.FileID].compare)

	g.files.shown += len(n.inForce) - before
	c.filesShown += len(n.inForce) - before
	switch {
	case before == 0 && len(n.inForce) > 0:
		g.files.order.insert(name)
	case before > 0 && len(n.inForce) == 0:
		g.files.order.remove(name)
	}
}

// nameOf returns the ranking of the name that a file would have, and its place
// in it, -1 if no claim for it is in force.
func (g *groupState) nameOf(id protocol.FileID) (ranking[protocol.FileID], int) {
	f := g.files.files[id]
	if f == nil {
		return nil, -1
	}
	n := g.files.names[f.canonical]
	if n == nil {
		return nil, -1
	}
	return n.inForce, n.inForce.index(id)
}

func (g *groupState) viewFile(id protocol.FileID, f *fileState) File {
	v := File{Group: g.id, ID: id, Name: f.name, Original: f.name, Size: f.size, SHA1: f.sha1, Bytes: f.manifest}
	if in, i := g.nameOf(id); i >= 0 {
		v.Name, v.Holder = f.name+in.suffix(i), in[i].holder
	}
	return v
}

// Files yields the files of a group ordered by shown name, those after a name
// only. Those of one name follow each other in the order of their suffixes.
func (c *Catalog) Files(id protocol.GroupID, after string) iter.Seq[File] {
	return func(yield func(File) bool) {
		g := c.groups[id]
		if g == nil {
			return
		}
		base, digits := splitShown(after)
		if canonical, err := protocol.CanonicalFile(base); err == nil {
			base = canonical
		}
		for name := range g.files.order.from(base) {
			in := g.files.names[name].inForce
			for _, i := range in.after(digits, name != base) {
				if !yield(g.viewFile(in[i].id, g.files.files[in[i].id])) {
					return
				}
			}
		}
	}
}

// FileCount counts them.
func (c *Catalog) FileCount(id protocol.GroupID) int {
	if g := c.groups[id]; g != nil {
		return g.files.shown
	}
	return 0
}

// FileNamed returns the file shown as name (any case) in a group.
func (c *Catalog) FileNamed(id protocol.GroupID, name string) (File, bool) {
	g := c.groups[id]
	if g == nil {
		return File{}, false
	}
	base, digits := splitShown(name)
	canonical, err := protocol.CanonicalFile(base)
	if err != nil {
		return File{}, false
	}
	n := g.files.names[canonical]
	if n == nil {
		return File{}, false
	}
	i, ok := n.inForce.shown(digits)
	if !ok {
		return File{}, false
	}
	return g.viewFile(n.inForce[i].id, g.files.files[n.inForce[i].id]), true
}

// File returns a file of a group by its id, whether or not a name is in force for it.
func (c *Catalog) File(gid protocol.GroupID, id protocol.FileID) (File, bool) {
	g := c.groups[gid]
	if g == nil {
		return File{}, false
	}
	f := g.files.files[id]
	if f == nil || f.name == "" {
		return File{}, false
	}
	return g.viewFile(id, f), true
}

// ManifestBytesOf sums the manifests of the files whose first sharer is u.
func (c *Catalog) ManifestBytesOf(id protocol.UserID) int64 {
	if u := c.users[id]; u != nil {
		return u.manifests
	}
	return 0
}

// Blobs yields the ids of the manifests that the facts name.
func (c *Catalog) Blobs() iter.Seq[protocol.FileID] {
	return func(yield func(protocol.FileID) bool) {
		for id := range c.blobs {
			if !yield(id) {
				return
			}
		}
	}
}

// BlobOf returns the manifest that a fact names, if it names one.
func BlobOf(f Fact) (protocol.FileID, bool) {
	p, err := parseKey(f.Key)
	if err != nil || p.kind != KindFile {
		return protocol.FileID{}, false
	}
	return p.file, true
}
