package gate

import "github.com/p2pshare/p2pshare/protocol"

// Sizes returns how many groups, members of one group and revocations the gate remembers.
func (g *Gate) Sizes(id protocol.GroupID) (groups, members, revoked int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.groups), len(g.groups[id].members), len(g.revoked.recent) + len(g.revoked.older)
}
