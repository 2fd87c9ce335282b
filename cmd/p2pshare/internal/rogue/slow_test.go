package rogue_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/p2pshare/p2pshare/cmd/p2pshare/internal/rogue"
	"github.com/p2pshare/p2pshare/internal/promise"
	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
)

// promptly is the promise: how soon a removal ends a download, and how soon an
// honest leecher has its first byte.
const promptly = 5 * time.Second

// TestRemovalEndsRunningDownloads removes a member whose modified client goes
// on reading, and an honest one, in the middle of a file.
func TestRemovalEndsRunningDownloads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ada, bob := w.user("ada", node.WithUploadLimit(512<<10)), w.user("bob")
	ada.group("g")
	path, m, _ := w.file("f.bin", 32<<20) // a minute at that limit
	ada.share("g", path)
	mal := w.member(ada, "g", "mal")
	ada.letIn("g", "bob", bob)
	group, file := mal.Find("g", m.Name)
	leech, err := mal.Leech(w.where(mal, group, file), mal.Ticket(group), file)
	w.ok(err)
	ended := make(chan int, 1) // pieces that came
	go func() {
		n := 0
		for {
			if _, err := leech.Piece(uint32(n)); err != nil {
				ended <- n
				return
			}
			n++
		}
	}()
	d := bob.begin("g", m.Name)
	w.eventually("both downloads run", func() bool { return d.Progress().Done > 0 })

	for _, name := range []string{"mal", "bob"} {
		_, err := ada.RemoveMember(t.Context(), "g", name)
		w.ok(err)
	}
	acked := time.Now()
	limit := time.After(patience)
	select {
	case n := <-ended:
		if n == len(m.Pieces) {
			t.Error("the rogue had all pieces before it was removed")
		}
	case <-limit:
		t.Fatal("the rogue goes on reading")
	}
	select {
	case <-d.Done():
	case <-limit:
		t.Fatalf("the honest download goes on: %+v", d.Progress())
	}
	took := time.Since(acked)
	t.Logf("both ended %v after the answer", took)
	if took > promise.Within(promptly) {
		t.Errorf("the downloads ended %v after the removal was answered, want within %v", took, promptly)
	}
	_, err = d.Wait(t.Context())
	w.want("the honest download", err, protocol.CodeRevoked)
}

// TestSlowLeechers has 64 clients of one member ask for all they may, and read
// nothing, or a byte now and then.
func TestSlowLeechers(t *testing.T) {
	t.Parallel()
	const slow = 64
	w := newWorld(t, nil)
	ada, bob := w.user("ada"), w.user("bob")
	ada.group("g")
	path, m, data := w.file("f.bin", 16<<20)
	ada.share("g", path)
	mal := w.member(ada, "g", "mal")
	ada.letIn("g", "bob", bob)
	group, file := mal.Find("g", m.Name)
	seeder := w.where(mal, group, file)
	for i := range slow {
		p := rogue.New(t)
		now := time.Now()
		ticket := &credential.Ticket{
			Network: w.network, Group: group, User: protocol.UserID(mal.User), Session: protocol.NewSessionID(), Peer: p.Host.ID(),
			Stamp: protocol.Stamp{Wall: 1, Origin: w.entry.ID.String()}, Issued: now, Expires: now.Add(protocol.TicketLife),
		}
		envelope, err := ticket.Seal(w.key)
		w.ok(err)
		leech, err := p.Leech(seeder, envelope, file)
		if err != nil {
			t.Fatalf("slow leecher %d: %v", i, err)
		}
		for piece := range uint32(protocol.MaxRequestsQueued) {
			if _, err := leech.Write(rogue.Request(piece % uint32(len(m.Pieces)))); err != nil {
				break // closed to make room
			}
		}
		if i%2 == 0 {
			go drip(leech)
		}
	}
	d := bob.begin("g", m.Name)
	begun := time.Now()
	var first time.Duration
	for p := range d.Updates() {
		if p.Done > 0 {
			first = time.Since(begun)
			break
		}
		if time.Since(begun) > patience {
			break
		}
	}
	t.Logf("the first piece was here after %v", first)
	if first == 0 || first > promise.Within(promptly) {
		t.Errorf("the first piece was here after %v, want within %v: %+v", first, promptly, d.Progress())
	}
	bob.finish(d, data)
}

// drip reads a few bytes a second until the stream ends.
func drip(l *rogue.Leech) {
	pace := time.NewTicker(200 * time.Millisecond)
	defer pace.Stop()
	for b := make([]byte, 16); ; <-pace.C {
		if _, err := l.Read(b); err != nil {
			return
		}
	}
}

// TestImpostorAtAPinnedAddress has somebody else listen where the tracker was:
// nobody logs in there.
func TestImpostorAtAPinnedAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	bare := w.entry
	bare.ID, bare.Text = "", fmt.Sprint(w.entry.Addr)
	confirm := node.WithConfirm(func(string, string) bool { return true })
	pinned := node.WithTrackerEntries(bare)
	ada := w.user("ada", pinned, confirm)
	w.ok(ada.Close())
	w.ok(w.tracker.Close())
	impostor := rogue.Open(t, rogue.NewKey(t), w.entry.Addr.String())
	heard := impostor.Impersonate()
	for name, opts := range map[string][]node.Option{
		"ada": {pinned, confirm}, // pinned by the login before
		"bob": nil,               // named with its id in the list
	} {
		n := w.node(name, opts...)
		_, err := n.Login(t.Context(), "ada", rogue.Password)
		w.want("login of "+name, err, protocol.CodeTrackerID)
	}
	if n := heard.Load(); n > 0 {
		t.Errorf("the impostor has heard %d calls", n)
	}
}
