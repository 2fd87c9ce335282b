package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
)

// maxSkew is more than any clock of a random world is off.
const maxSkew = 15 * time.Minute

// away is the fault that only nodes have: one reaches no tracker.
const away = "away"

// society is a random world with whole trackers and with people at their nodes,
// all of whom a wiretap listens to.
type society struct {
	*player
	dir     string
	tap     *wiretap
	persons []*person

	mu    sync.Mutex
	owner map[protocol.UserID]*person // of accounts, as their passwords have shown
	pass  map[string]*person          // who chose a password
	kind  map[string]int              // acts that succeeded
}

// TestRandomSocieties plays one in twenty of as many seeds as TestRandomWorlds:
// people with nodes at whole trackers cost more.
func TestRandomSocieties(t *testing.T) {
	var mu sync.Mutex
	total := map[string]int{}
	n := max(1, worlds()/20)
	t.Run("societies", func(t *testing.T) {
		for seed := *first; seed < *first+uint64(n); seed++ {
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				bubble(t, func(t *testing.T) {
					w := playSociety(t, seed, dir)
					mu.Lock()
					defer mu.Unlock()
					for k, n := range w.kind {
						total[k] += n
					}
					total["pieces seen"] += int(w.tap.pieces.Load())
					total["addresses told"] += int(w.tap.frames.Load())
				})
			})
		}
	})
	summary := fmt.Sprintf("%d societies of %v; done: %v", n, worldTime, total)
	if *seeds > 1 {
		fmt.Println(summary)
		return
	}
	t.Log(summary)
}

func playSociety(t *testing.T, seed uint64, dir string) *society {
	s := newScriptOf(seed, habits, append(slices.Clone(faults), weighted{away, 6}))
	l := newLAN()
	w := &society{
		player: s.begin(t, l), dir: dir, kind: map[string]int{},
		owner: map[protocol.UserID]*person{}, pass: map[string]*person{},
	}
	w.serves = true
	w.tap = &wiretap{w: w.world, later: func(f func()) { w.users.Go(f) }, users: map[peer.ID]protocol.UserID{}}
	l.tap = w.tap.listen
	w.start()
	for n := range 4 {
		w.persons = append(w.persons, w.newPerson(n))
	}
	w.meet()
	w.begun = time.Now()
	for _, h := range s.events {
		time.Sleep(h.at - time.Since(w.begun))
		w.happen(h)
	}
	w.settle()
	for _, wrong := range w.tap.wrong {
		t.Error(wrong)
	}
	if t.Failed() {
		t.Logf("%s", w)
	}
	return w
}

func (w *society) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// meet lets most people find together before anything fails.
func (w *society) meet() {
	w.awaitReady()
	for _, p := range w.persons[1:] {
		w.enterAtLast(p)
	}
	w.await("a group of three with a file", time.Minute, func() bool {
		owner := w.persons[1]
		_ = owner.act(act{kind: "create group"})
		for _, p := range w.persons[2:] {
			_ = p.act(act{kind: "join"})
		}
		_ = owner.act(act{kind: "answer"})
		_ = owner.act(act{kind: "answer"})
		_ = owner.act(act{kind: "share"})
		return len(w.files()) > 0 && slices.ContainsFunc(w.persons[2:], func(p *person) bool {
			return w.memberAt(0).together(owner.id, p.id, time.Now())
		})
	})
}

// happen makes something happen.
func (w *society) happen(h happening) {
	p := w.persons[int(h.where)%len(w.persons)]
	switch h.fault {
	case "":
		w.users.Go(func() {
			err := p.act(h.act)
			if *loud {
				w.t.Logf("%v person %d: %s: %v", time.Since(w.begun), p.number, h.act.kind, err)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if err == nil {
				w.kind[h.act.kind]++
			}
		})
		return
	case away:
		for _, m := range w.members {
			w.net.cut(p.peer, m.id)
			w.net.cut(m.id, p.peer)
		}
	default:
		w.fail(h, w.members[int(h.where)%len(w.members)])
	}
	if h.fault == "heal" {
		w.comeBack()
	}
}

// comeBack ends what keeps nodes from trackers.
func (w *society) comeBack() {
	for _, p := range w.persons {
		for _, m := range w.members {
			w.net.heal(p.peer, m.id)
			w.net.heal(m.id, p.peer)
		}
	}
}

// settle ends all trouble, and looks whether everything is as the catalog says
// that all trackers have in common.
func (w *society) settle() {
	w.comeBack()
	w.rest()
	w.attachAll()
	time.Sleep(2 * newsSpan)
	w.tap.resting.Store(true)
	w.checkPasswords()
	w.each(w.checkTickets)
	w.attachAll() // of nine sessions of a user, the oldest has ended
	w.each(w.checkFiles)
}

// each calls f with those who have an account.
func (w *society) each(f func(*person)) {
	for _, p := range w.persons {
		if p.id != (protocol.UserID{}) {
			f(p)
		}
	}
}

// attachAll logs everybody in.
func (w *society) attachAll() {
	w.t.Helper()
	online := 0
	for _, p := range w.persons {
		w.enterAtLast(p)
		if p.id != (protocol.UserID{}) && w.shownAs(p.id) == "" {
			p.id = protocol.UserID{} // no tracker takes the session
		}
		if _, err := p.node.User(); err == nil && p.id != (protocol.UserID{}) {
			online++
		}
	}
	w.await("all are attached, and all trackers know it", time.Minute, func() bool {
		for i, m := range w.members {
			if n := m.service.presence.Online(); n != online {
				w.last = fmt.Sprintf("tracker %d knows of %d clients, not of %d", i, n, online)
				for _, p := range w.persons {
					name, err := p.node.User()
					w.last += fmt.Sprintf("\nperson %d, %s: %q, %v, %v", p.number, p.peer, name, err, p.node.Trackers(context.Background()))
				}
				return false
			}
		}
		return true
	})
	w.await("all equal", healTime, w.equal)
}

// enterAtLast lets a person try until the one who has an account is logged in.
func (w *society) enterAtLast(p *person) {
	w.await(fmt.Sprintf("person %d is logged in", p.number), time.Minute, func() bool {
		err := p.act(act{kind: "enter"})
		if errors.Is(err, errNothing) {
			return true
		}
		if err != nil {
			w.last = fmt.Sprintf("person %d: %v", p.number, err)
		}
		return err == nil
	})
}

// chooses notes a password that a person sets.
func (w *society) chooses(p *person, password string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pass[password] = p
}

// opened notes whose password has opened an account: never two persons'.
func (w *society) opened(id protocol.UserID, p *person) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if first := w.owner[id]; first != nil && first != p {
		w.tap.errorf("the account %v of person %d opens to person %d", id, first.number, p.number)
	}
	w.owner[id] = p
}

func (w *society) passwordsOf(p *person) (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for password, of := range w.pass {
		if of == p {
			out = append(out, password)
		}
	}
	return out
}

// accountOf returns the account whose verifier takes a person's password.
func (w *society) accountOf(p *person) (id protocol.UserID) {
	hasher := cheap()
	for _, m := range w.all() {
		r, _ := m.serving()
		if r == nil {
			continue
		}
		phcs := map[protocol.UserID]string{}
		r.View(func(c *catalog.Catalog) {
			for f := range c.FactsUnder("") {
				if x, err := catalog.Parse(f); err == nil && x.Kind == catalog.KindUser {
					v, _ := c.Verifier(x.User)
					phcs[x.User] = v.PHC
				}
			}
		})
		for u, phc := range phcs {
			if ok, err := hasher.Check(context.Background(), "", phc, []byte(p.password)); ok && err == nil {
				id = u
			}
		}
	}
	return id
}

// shownAs returns under which name some tracker knows an account; "" if the
// account, or how to log in to it, was lost with the only disk that had it.
func (w *society) shownAs(id protocol.UserID) (name string) {
	for _, m := range w.all() {
		if r, _ := m.serving(); r != nil && name == "" {
			r.View(func(c *catalog.Catalog) {
				if _, ok := c.Verifier(id); ok {
					u, _ := c.User(id)
					name = u.Name
				}
			})
		}
	}
	return name
}

// place is a file in a group.
type place struct {
	Group protocol.GroupID
	ID    protocol.FileID
}

// files returns what some tracker knows of.
func (w *society) files() (out []place) {
	for _, m := range w.all() {
		if r, _ := m.serving(); r != nil && len(out) == 0 {
			r.View(func(c *catalog.Catalog) {
				for g := range c.Groups("") {
					for f := range c.Files(g.ID, "") {
						out = append(out, place{g.ID, f.ID})
					}
				}
			})
		}
	}
	return out
}

func (w *society) memberAt(pick uint32) *member {
	all := w.all()
	return all[int(pick)%len(all)]
}
