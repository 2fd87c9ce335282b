package sim

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/roster"
	tt "github.com/p2pshare/p2pshare/tracker/internal/trackertest"
)

// person is a user with a node, and with a bare client that shows what trackers
// and nodes do for anybody who asks. One act of a person at a time.
type person struct {
	w        *society
	number   int
	name     string // asked for; another may have it
	named    int    // names that others had
	password string
	key      crypto.PrivKey
	peer     peer.ID // of the node
	station  *station
	phone    *tt.Client
	busy     chan struct{} // holds one value while an act is under way
	closed   bool

	node    *node.Node
	id      protocol.UserID // once logged in
	tickets []ticketOf      // under w.mu
}

// ticketOf is a ticket that a person got, for use and abuse.
type ticketOf struct {
	group    protocol.GroupID
	envelope []byte
}

func keyOf(seed, n uint64) (crypto.PrivKey, error) {
	b := make([]byte, ed25519.SeedSize)
	binary.LittleEndian.PutUint64(b, seed)
	binary.LittleEndian.PutUint64(b[8:], n)
	return crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(b))
}

func (w *society) newPerson(n int) *person {
	w.t.Helper()
	p := &person{
		w: w, number: n, name: fmt.Sprintf("user%d", n/2), password: fmt.Sprintf("password of person %d", n),
		busy: make(chan struct{}, 1),
	}
	var err error
	p.key, err = keyOf(w.s.seed, uint64(2*n+1))
	w.ok(err)
	p.peer, err = peer.IDFromPrivateKey(p.key)
	w.ok(err)
	phoneKey, err := keyOf(w.s.seed, uint64(2*n+2))
	w.ok(err)
	phone, err := w.net.open(phoneKey)
	w.ok(err)
	w.t.Cleanup(func() { _ = phone.Close() })
	p.phone = tt.Over(w.t, phone)
	for _, dir := range []string{p.dir("node"), p.dir("files"), p.dir("downloads")} {
		w.ok(os.MkdirAll(dir, 0o700))
	}
	w.ok(p.open())
	w.t.Cleanup(p.close)
	return p
}

func (p *person) dir(what string) string {
	return filepath.Join(p.w.dir, fmt.Sprint(what, "-", p.number))
}

// open starts the node over what its folder holds.
func (p *person) open() error {
	h, err := p.w.net.open(p.key)
	if err != nil {
		return err
	}
	p.station = h.(*station)
	var entries []roster.Entry
	for i, m := range p.w.all() {
		addr := p.w.net.(*lan).addr(m.id)
		entries = append(entries, roster.Entry{Number: i + 1, Line: i + 1, Text: roster.Format(addr, m.id), Addr: addr, ID: m.id})
	}
	p.node, err = node.New(node.WithDataDir(p.dir("node")), node.WithDownloadDir(p.dir("downloads")),
		node.WithTrackerEntries(entries...), node.WithHost(h), node.WithWorkers(1))
	return err
}

func (p *person) close() {
	if p.closed {
		return
	}
	p.closed = true
	if err := p.node.Close(); err != nil {
		p.w.t.Errorf("close a node: %v", err)
	}
	_ = p.station.Close()
}

// habits are what people do, with how often.
var habits = []weighted{
	{"enter", 12},
	{"create group", 3},
	{"join", 10},
	{"answer", 12},
	{"remove", 4},
	{"leave", 2},
	{"share", 8},
	{"unshare", 1},
	{"download", 12},
	{"password", 2},
	{"logout", 1},
	{"restart", 2},
	{"ticket", 8},
	{"intrude", 6},
}

// act does something. Errors are part of life; what must not be is found by
// others, but for what an act finds itself.
func (p *person) act(x act) error {
	select {
	case p.busy <- struct{}{}:
		defer func() { <-p.busy }()
	default:
		return errNothing
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	switch x.kind {
	case "enter":
		return p.enter(ctx)
	case "restart":
		p.close()
		p.closed = false
		return p.open()
	case "password":
		next := fmt.Sprintf("password %d of person %d", x.n, p.number)
		p.w.chooses(p, next)
		_, err := p.node.ChangePassword(ctx, p.password, next)
		if err == nil {
			p.password = next
		}
		return err
	case "logout":
		_, err := p.node.Logout(ctx)
		return err
	case "create group":
		_, err := p.node.CreateGroup(ctx, groupName(x.b))
		return err
	case "ticket":
		return p.askTicket(p.w.memberAt(x.a), x.b)
	case "intrude":
		return p.intrude(ctx, x)
	}
	return p.actInGroup(ctx, x)
}

// enter registers if need be, and logs in.
func (p *person) enter(ctx context.Context) error {
	if _, err := p.node.User(); err == nil {
		return errNothing
	}
	if p.id == (protocol.UserID{}) {
		p.w.chooses(p, p.password)
		if _, err := p.node.CreateUser(ctx, p.name, p.password); err != nil {
			if protocol.CodeOf(err) != protocol.CodeExists {
				return err
			}
			p.named++
			p.name = fmt.Sprintf("user%d-%d-%d", p.number/2, p.number, p.named)
		}
		if p.id = p.w.accountOf(p); p.id == (protocol.UserID{}) {
			return errNothing // the other one's
		}
	}
	name := p.w.shownAs(p.id)
	if name == "" {
		p.id = protocol.UserID{} // lost with the only disk that had it
		return errNothing
	}
	return p.tryPasswords(func(password string) error {
		_, err := p.node.Login(ctx, name, password)
		if err == nil {
			p.w.tap.belongs(p.peer, p.id)
		}
		return err
	})
}

// tryPasswords logs in with the password that a person believes to be theirs,
// then with those that may be, after changes of which no answer came.
func (p *person) tryPasswords(login func(string) error) error {
	err := login(p.password)
	for _, other := range p.w.passwordsOf(p) {
		if protocol.CodeOf(err) != protocol.CodeAuth {
			break
		}
		if err = login(other); err == nil {
			p.password = other
		}
	}
	return err
}

func (p *person) actInGroup(ctx context.Context, x act) error {
	groups, err := p.node.Groups(ctx)
	if err != nil || len(groups) == 0 {
		return cmpErr(err, errNothing)
	}
	g := groups[int(x.b)%len(groups)]
	pick := func(names []string, err error) (string, error) {
		if err != nil || len(names) == 0 {
			return "", cmpErr(err, errNothing)
		}
		return names[int(x.c)%len(names)], nil
	}
	members := func() (names []string, err error) {
		all, err := p.node.Members(ctx, g.Name)
		for _, m := range all {
			names = append(names, m.User)
		}
		return names, err
	}
	switch x.kind {
	case "join":
		_, err = p.node.JoinGroup(ctx, g.Name)
	case "answer":
		for _, g := range groups {
			if g.Role == "owner" {
				if who, err := pick(p.node.Requests(ctx, g.Name)); err == nil {
					_, _ = p.node.AcceptRequest(ctx, g.Name, who)
				}
			}
		}
	case "remove":
		var who string
		if who, err = pick(members()); err == nil {
			_, err = p.node.RemoveMember(ctx, g.Name, who)
		}
	case "leave":
		_, err = p.node.LeaveGroup(ctx, g.Name)
	case "share":
		if g.Role != "owner" && g.Role != "member" {
			return errNothing
		}
		var path string
		if path, err = p.write(x); err == nil {
			_, _, err = p.node.Share(ctx, g.Name, path, nil)
		}
	case "unshare", "download":
		var files []node.File
		if files, err = p.node.Files(ctx, g.Name); err != nil || len(files) == 0 {
			return cmpErr(err, errNothing)
		}
		f := files[int(x.c)%len(files)]
		if x.kind == "unshare" {
			_, err = p.node.Unshare(ctx, g.Name, f.Name)
		} else {
			_, err = p.node.Download(ctx, g.Name, f.Name, filepath.Join(p.dir("downloads"), fmt.Sprint(x.n)))
		}
	default:
		err = fmt.Errorf("no habit %q", x.kind)
	}
	return err
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// write makes a file.
func (p *person) write(x act) (string, error) {
	rng := rand.New(rand.NewPCG(x.n, uint64(p.number)))
	b := make([]byte, protocol.PieceLength+16+rng.IntN(protocol.PieceLength))
	for i := 0; i+8 <= len(b); i += 4 << 10 {
		binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
	}
	dir := filepath.Join(p.dir("files"), fmt.Sprint(x.n))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	path := filepath.Join(dir, fileName(x.c))
	return path, os.WriteFile(path, b, 0o600)
}
