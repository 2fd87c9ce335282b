package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/gate"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/credential"
)

// lookPace is how often shared files are compared with what was hashed, and
// files that nobody reads are closed.
const lookPace = time.Minute

// fileKey is a file in a group.
type fileKey struct {
	group protocol.GroupID
	file  protocol.FileID
}

// account is one login: what it shares and downloads, until end.
type account struct {
	node    *Node
	user    protocol.UserID
	session protocol.SessionID
	network protocol.NetworkID
	ctx     context.Context //nolint:containedctx // the lifetime of the login; its cause says why it ended
	cancel  context.CancelCauseFunc
	wg      sync.WaitGroup
	// ticketing is held, by a value in it, by whoever asks for a ticket.
	ticketing chan struct{}
	known     chan struct{} // closed once a tracker has told all groups
	// exchanging is held, by a value in it, by whoever tells trackers that a
	// share begins or ends.
	exchanging chan struct{}
	stopped    chan struct{} // one slot: trackers must hear that a share ended
	// recording is held, by a value in it, by whoever records a share or a
	// download, or makes another one the one that counts: see account.record.
	recording chan struct{}
	remove    func(records.Download) error // is removeData; tests put another in its place

	mu        sync.Mutex
	ended     bool
	name      string
	shares    map[fileKey]*share
	downloads map[fileKey]*Download
	groups    map[protocol.GroupID]string // the user's, and their names
	told      map[protocol.GroupID]bool   // those of the GroupStates since the last Attached
	isKnown   bool                        // known is closed
	tickets   map[protocol.GroupID]heldTicket
}

// newAccount reads what the user shared and downloaded; resume makes it go on.
// E_SESSION for a session that is over.
func newAccount(n *Node, s *records.Session) (*account, error) {
	session, err := credential.OpenSession(s.Envelope, n.own(s.Network), true)
	if err != nil {
		return nil, err
	}
	a := &account{
		node: n, user: s.User, session: session.ID, network: s.Network, name: s.Name,
		ticketing: make(chan struct{}, 1), known: make(chan struct{}),
		exchanging: make(chan struct{}, 1), stopped: make(chan struct{}, 1), recording: make(chan struct{}, 1), remove: removeData,
		shares:    map[fileKey]*share{},
		downloads: map[fileKey]*Download{},
		groups:    map[protocol.GroupID]string{},
		told:      map[protocol.GroupID]bool{},
		tickets:   map[protocol.GroupID]heldTicket{},
	}
	shares, err := n.records.Shares(s.User)
	if err != nil {
		return nil, err
	}
	for _, r := range shares {
		a.shares[fileKey{r.Group, r.File}] = newShare(a, r)
	}
	downloads, err := n.records.Downloads(s.User)
	if err != nil {
		return nil, err
	}
	for _, r := range downloads {
		d := newDownload(a, r)
		if d.unfinished() {
			d.latest.Done = d.onDisk() // what is shown until it runs again
		}
		d.begun = true
		a.downloads[d.key] = d
	}
	a.ctx, a.cancel = context.WithCancelCause(n.ctx)
	return a, nil
}

// resume announces the shares, goes on with the downloads, and keeps an eye on both.
func (a *account) resume() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k, s := range a.shares {
		if s.record().Withdrawn == "" {
			a.node.trackers.Offer(k.group, k.file, true)
		}
	}
	var ended []*Download
	for _, d := range a.downloads {
		if d.unfinished() {
			a.spawnLocked(d.run)
		} else {
			ended = append(ended, d)
		}
	}
	a.spawnLocked(func() { a.checkAll(ended) })
	a.spawnLocked(a.lookAtShares)
	a.spawnLocked(a.tellStops)
}

// end stops everything and waits for it. Why is what downloads under way end with.
func (a *account) end(why error) {
	a.mu.Lock()
	a.ended = true
	a.mu.Unlock()
	a.cancel(why)
	a.wg.Wait()
	for _, s := range a.allShares() {
		s.closeIdle(true)
	}
}

// spawn runs f unless the login has ended; end waits for it.
func (a *account) spawn(f func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.spawnLocked(f)
}

func (a *account) spawnLocked(f func()) bool {
	if a.ended {
		return false
	}
	a.wg.Go(f)
	return true
}

func (a *account) shownName() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.name
}

func (a *account) rename(name string) {
	if name == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.name = name
}

func (a *account) allShares() []*share {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]*share, 0, len(a.shares))
	for _, s := range a.shares {
		out = append(out, s)
	}
	return out
}

func (a *account) allDownloads() []*Download {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]*Download, 0, len(a.downloads))
	for _, d := range a.downloads {
		out = append(out, d)
	}
	return out
}

func (a *account) share(k fileKey) *share {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.shares[k]
}

func (a *account) download(k fileKey) *Download {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.downloads[k]
}

// groupName returns how a group is shown now, or was when last heard of.
func (a *account) groupName(id protocol.GroupID, otherwise string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if name, ok := a.groups[id]; ok {
		return name
	}
	return otherwise
}

// maxGroups is twice what a user may join, since either side of a cut may fill it.
const maxGroups = 2 * protocol.MaxGroupsJoined

// knowGroup notes a group of the user; false for what no tracker of good faith tells.
func (a *account) knowGroup(id protocol.GroupID, name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.groups[id]; len(name) > maxShown || !ok && len(a.groups) >= maxGroups {
		return false
	}
	a.groups[id] = name
	return true
}

// isMember reports whether a tracker has told that the group is the user's.
func (a *account) isMember(id protocol.GroupID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.groups[id]
	return ok
}

// lostGroup ends what goes on in a group of which the user is no member any more.
// It does not wait for the disk: events of the tracker do.
func (a *account) lostGroup(id protocol.GroupID, name, why string) {
	a.mu.Lock()
	delete(a.groups, id)
	delete(a.tickets, id)
	a.mu.Unlock()
	n := a.node
	n.gate.Forget(id)
	n.closeDisallowed()
	for _, d := range a.allDownloads() {
		if d.key.group == id {
			d.revoke(protocol.Errorf(protocol.CodeRevoked, "you are no longer a member of %s; the download stopped, partial data is kept", protocol.Quote(name)))
		}
	}
	ended := a.endShares(why, slices.DeleteFunc(a.allShares(), func(s *share) bool { return s.key.group != id }))
	a.spawn(func() { a.recordEnds(ended) })
}

// closeDisallowed ends the streams that the gate does not allow any more.
func (n *Node) closeDisallowed() {
	now := n.trackers.Now()
	n.server.CloseWhere(func(g gate.Grant, _ protocol.FileID) bool { return !n.gate.Allows(g, now) })
}

func everyStream(gate.Grant, protocol.FileID) bool { return true }
