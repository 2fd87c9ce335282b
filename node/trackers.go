package node

import (
	"context"

	"github.com/p2pshare/p2pshare/protocol"
)

// TrackerInfo is a tracker of the network. State is connected, reachable or unreachable; then Reason says why.
type TrackerInfo struct {
	Number                 int
	Address, State, Reason string
}

// ConfirmTrackers contacts the trackers that are listed without an id and not
// known yet, and has WithConfirm's function decide about each that no tracker
// trusted by then names. Calls do so by themselves; a program does it first
// where it can ask a person then and not later.
func (n *Node) ConfirmTrackers(ctx context.Context) { n.trackers.Introduce(ctx) }

// Trackers probes all trackers known.
func (n *Node) Trackers(ctx context.Context) []TrackerInfo {
	var out []TrackerInfo
	for _, i := range n.trackers.List(ctx) {
		info := TrackerInfo{Number: i.Number, Address: protocol.Printable(i.Address), State: "reachable"}
		switch {
		case i.Holds:
			info.State = "connected"
		case i.Err != nil:
			info.State, info.Reason = "unreachable", i.Reason()
		}
		out = append(out, info)
	}
	return out
}
