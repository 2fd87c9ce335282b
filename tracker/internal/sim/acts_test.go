package sim

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/replica"
)

// patience is how long a client waits for an answer.
const patience = 10 * time.Second

// errNothing ends an act for which the catalog has nobody.
var errNothing = errors.New("nothing to do")

// act is one thing that a user does at a tracker. The numbers choose among what
// that tracker knows, so that a script can be made before the world is.
type act struct {
	kind    string
	n       uint64 // its number, unique in a world
	a, b, c uint32
	name    string // instead of one of the few, for scripted worlds
}

// acts are the kinds with how often they come.
var acts = []weighted{
	{"register", 8},
	{"create group", 5},
	{"ask", 5},
	{"accept", 12},
	{"remove", 6},
	{"leave", 3},
	{"transfer", 3},
	{"share", 9},
	{"stop share", 3},
	{"password", 5},
	{"login", 5},
	{"logout", 3},
}

// do does it. Unless the answer is wanted, errors are part of life.
func (m *member) do(x act) (replica.Stored, error) {
	var blobs map[protocol.FileID][]byte
	var file *protocol.Manifest
	if x.kind == "share" {
		file = manifest(x)
		blobs = map[protocol.FileID][]byte{protocol.ManifestID(file.Encode()): file.Encode()}
	}
	return m.change(fmt.Sprintf("%s #%d", x.kind, x.n), blobs, func(c *catalog.Catalog) ([]catalog.Draft, error) {
		return m.draft(c, x, file)
	})
}

// change proposes what build drafts, as the service would, and notes the answer.
func (m *member) change(what string, blobs map[protocol.FileID][]byte, build func(c *catalog.Catalog) ([]catalog.Draft, error)) (replica.Stored, error) {
	r := m.running()
	if r == nil {
		return replica.Stored{}, errOff
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var drafts []catalog.Draft
	s, err := r.Propose(ctx, replica.Proposal{Blobs: blobs, Build: func(c *catalog.Catalog) ([]catalog.Draft, error) {
		ds, err := build(c)
		drafts = ds
		if slices.ContainsFunc(catalog.NameClaims(ds), c.ClaimHeld) {
			return nil, protocol.Errorf(protocol.CodeExists, "taken")
		}
		return ds, err
	}})
	if err != nil {
		m.w.model.refuse(err)
		return s, err
	}
	if *loud {
		m.w.t.Logf("%v %s at %s: on %d, stamp %v", time.Now(), what, m.id, s.On, s.Stamp)
	}
	a := answered{what: what, on: s.On}
	for _, d := range drafts {
		a.facts = append(a.facts, catalog.Fact{Key: d.Key, Value: d.Value, Stamp: s.Stamp})
	}
	for id := range blobs {
		a.blobs = append(a.blobs, id)
	}
	m.w.model.answer(a)
	return s, nil
}

// draft is what the act wants to write, as the service would.
func (m *member) draft(c *catalog.Catalog, x act, file *protocol.Manifest) ([]catalog.Draft, error) {
	switch x.kind {
	case "register":
		id := userOf(x.n)
		m.w.model.setPassword(id, phcOf(x.n))
		return catalog.NewAccount(id, cmp.Or(x.name, userName(x.a)), phcOf(x.n)), nil
	case "create group":
		u, err := someUser(c, x.a)
		return catalog.NewGroup(groupOf(x.n), cmp.Or(x.name, groupName(x.b)), u), err
	case "password":
		u, err := someUser(c, x.a)
		if err != nil {
			return nil, err
		}
		m.w.model.setPassword(u, phcOf(x.n))
		return c.NewPassword(u, phcOf(x.n), x.b%8 == 0), nil
	case "login":
		u, err := someUser(c, x.a)
		now := m.now()
		s := catalog.Session{ID: sessionOf(x.n), Device: "sim", Since: now.UnixMilli(), Until: now.Add(protocol.SessionRenew).UnixMilli()}
		return catalog.NewSession(u, s), err
	case "logout":
		u, err := someUser(c, x.a)
		if err != nil {
			return nil, err
		}
		all := c.Sessions(u)
		if len(all) == 0 {
			return nil, errNothing
		}
		s := all[int(x.b)%len(all)]
		return catalog.RevokeSession(s.ID, u, s.Until), nil
	}
	return m.draftInGroup(c, x, file)
}

func (m *member) draftInGroup(c *catalog.Catalog, x act, file *protocol.Manifest) ([]catalog.Draft, error) {
	g, err := someGroup(c, x.b)
	if err != nil {
		return nil, err
	}
	anybody, err := someUser(c, x.a)
	if err != nil {
		return nil, err
	}
	one := c.Members(g.ID)[int(x.a)%g.Members].User
	switch x.kind {
	case "ask":
		if c.IsMember(g.ID, anybody) {
			return nil, errNothing
		}
		return catalog.SetRequest(g.ID, anybody, catalog.RequestOpen), nil
	case "accept":
		if open := c.Requests(g.ID); len(open) > 0 {
			anybody = open[int(x.c)%len(open)]
		}
		in := inGroup{g.ID, anybody}
		m.w.model.admit(in, m.w.seen(c, in))
		return c.Grant(g.ID, anybody), nil
	case "remove", "leave":
		return c.Remove(g.ID, one, m.id.String()), nil
	case "transfer":
		return c.Transfer(g.ID, one), nil
	case "share":
		s := catalog.Share{Group: g.ID, File: protocol.ManifestID(file.Encode()), User: one, Peer: m.id.String()}
		return c.ShareFile(s, file, int64(len(file.Encode()))), nil
	case "stop share":
		all := c.SharesOf(one)
		if len(all) == 0 {
			return nil, errNothing
		}
		return c.StopShare(all[int(x.c)%len(all)]), nil
	}
	return nil, fmt.Errorf("no act %q", x.kind)
}

// someUser picks an account.
func someUser(c *catalog.Catalog, pick uint32) (protocol.UserID, error) {
	var all []protocol.UserID
	for f := range c.FactsUnder("") {
		text, ok := strings.CutPrefix(string(f.Key), "user/")
		if !ok {
			continue
		}
		id, err := protocol.ParseID[protocol.UserID](text)
		if err != nil {
			return id, fmt.Errorf("key of an account: %w", err)
		}
		all = append(all, id)
	}
	if len(all) == 0 {
		return protocol.UserID{}, errNothing
	}
	slices.SortFunc(all, func(a, b protocol.UserID) int { return bytes.Compare(a[:], b[:]) })
	return all[int(pick)%len(all)], nil
}

func someGroup(c *catalog.Catalog, pick uint32) (catalog.Group, error) {
	var all []catalog.Group
	for g := range c.Groups("") {
		all = append(all, g)
	}
	if len(all) == 0 {
		return catalog.Group{}, errNothing
	}
	return all[int(pick)%len(all)], nil
}

// The names are few, so that they clash.
func userName(n uint32) string  { return fmt.Sprintf("user%d", n%12) }
func groupName(n uint32) string { return fmt.Sprintf("Group %d", n%6) }
func fileName(n uint32) string  { return fmt.Sprintf("file %d.bin", n%8) }

func number(n uint64) (id [16]byte) {
	binary.BigEndian.PutUint64(id[8:], n+1)
	return id
}

func userOf(n uint64) protocol.UserID       { return number(n) }
func groupOf(n uint64) protocol.GroupID     { return number(n) }
func sessionOf(n uint64) protocol.SessionID { return number(n) }

func phcOf(n uint64) string {
	id := number(n)
	return "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$" + base64.RawStdEncoding.EncodeToString(id[:])
}

func manifest(x act) *protocol.Manifest {
	m := &protocol.Manifest{Name: cmp.Or(x.name, fileName(x.c)), Size: protocol.MinPieceLength, PieceLength: protocol.MinPieceLength}
	m.SHA1 = protocol.SHA1{byte(x.n), byte(x.n >> 8), byte(x.n >> 16)}
	m.Pieces = []protocol.PieceHash{{SHA1: m.SHA1}}
	return m
}
