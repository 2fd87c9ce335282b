package sim

import (
	"context"
	"crypto/sha1"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/pb"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/presence"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// checkPasswords tries every password at every name.
func (w *society) checkPasswords() {
	m := w.members[w.rng.IntN(len(w.members))]
	phone := w.persons[0].phone
	phone.Use(w.net.info(m.id))
	var names []string
	m.running().View(func(c *catalog.Catalog) {
		for f := range c.FactsUnder("") {
			if x, err := catalog.Parse(f); err == nil && x.Kind == catalog.KindUser {
				u, _ := c.User(x.User)
				names = append(names, u.Name)
			}
		}
	})
	for _, name := range names {
		for password, of := range w.pass {
			if phone.Login(name, password) != nil {
				continue
			}
			w.opened(protocol.UserID(phone.User), of)
			if _, err := tt.Do(phone, phone.At().Logout, &pb.LogoutRequest{}); err != nil {
				w.t.Errorf("log out at rest: %v", err)
			}
		}
	}
}

// checkTickets has a person ask for tickets of all groups, and use those of
// groups in which they are no more.
func (w *society) checkTickets(p *person) {
	m := w.members[w.rng.IntN(len(w.members))]
	if err := p.call(m); err != nil {
		w.t.Errorf("person %d cannot use tracker %s at rest: %v", p.number, m.id, err)
		return
	}
	is := map[protocol.GroupID]bool{}
	m.running().View(func(c *catalog.Catalog) {
		for g := range c.Groups("") {
			is[g.ID] = c.IsMember(g.ID, p.id)
		}
	})
	for g, member := range is {
		_, err := tt.Do(p.phone, p.phone.At().IssueTicket, &pb.IssueTicketRequest{GroupId: g[:]})
		if (err == nil) != member {
			w.t.Errorf("person %d is a member of %v: %v; a ticket: %v", p.number, g, member, err)
		}
	}
	for _, t := range p.stolen() {
		if is[t.group] {
			continue
		}
		for _, f := range w.files() {
			for _, q := range w.persons {
				if f.Group == t.group && q != p {
					_ = p.ask(context.Background(), q.peer, f.ID, t.envelope) // the tap looks
				}
			}
		}
	}
}

// checkFiles has a person fetch what others offer in their groups.
func (w *society) checkFiles(p *person) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	groups, err := p.node.Groups(ctx)
	if err != nil {
		w.t.Errorf("person %d lists groups: %v", p.number, err)
	}
	for k, g := range groups {
		if g.Role != "owner" && g.Role != "member" {
			continue
		}
		files, err := p.node.Files(ctx, g.Name)
		if err != nil {
			w.t.Errorf("person %d lists files of %s: %v", p.number, g.Name, err)
		}
		for i, f := range files {
			if f.Seeders == 0 {
				continue
			}
			path := filepath.Join(p.dir("downloads"), fmt.Sprintf("last-%d-%d", k, i))
			d, err := p.node.Download(ctx, g.Name, f.Name, path)
			if protocol.CodeOf(err) == protocol.CodeExists {
				continue // it is there already
			}
			if !slices.ContainsFunc(w.members, func(m *member) bool { return m.store.holds(f.ID) }) {
				continue // its manifest was lost with the only disk that had it
			}
			if err != nil {
				w.t.Errorf("person %d fetches %s of %s: %v", p.number, f.Name, g.Name, err)
				continue
			}
			r, err := d.Wait(ctx)
			if err != nil {
				w.t.Errorf("person %d does not get %s of %s: %v, %+v\n%s", p.number, f.Name, g.Name, err, d.Progress(), w.whoHas(f))
				continue
			}
			b, err := os.ReadFile(r.Path)
			w.ok(err)
			if protocol.SHA1(sha1.Sum(b)) != f.SHA1 || int64(len(b)) != f.Size {
				w.t.Errorf("person %d has something else as %s of %s", p.number, f.Name, g.Name)
			}
			w.mu.Lock()
			w.kind["fetched at rest"]++
			w.mu.Unlock()
		}
	}
}

// whoHas tells what each tracker knows of who offers a file, and what each node shares.
func (w *society) whoHas(f node.File) string {
	var b strings.Builder
	for i, m := range w.members {
		m.running().View(func(c *catalog.Catalog) {
			for g := range c.Groups("") {
				for _, s := range m.service.presence.Seeders(presence.FileRef{Group: g.ID, File: f.ID}, 10) {
					fmt.Fprintf(&b, "tracker %d, %s: %s of %v, complete %v, member %v\n",
						i, g.Name, s.Peer, s.User, s.Complete, c.IsMember(g.ID, s.User))
				}
			}
		})
	}
	for _, p := range w.persons {
		shares, err := p.node.Shares()
		fmt.Fprintf(&b, "person %d, %s of %v, shares %+v, %v\n", p.number, p.peer, p.id, shares, err)
	}
	return b.String()
}
