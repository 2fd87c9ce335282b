package node

import "context"

// TrackerInfo is a tracker of the network. State is connected, reachable or unreachable; then Reason says why.
type TrackerInfo struct {
	Number                 int
	Address, State, Reason string
}

// Trackers probes all trackers known.
func (n *Node) Trackers(ctx context.Context) []TrackerInfo {
	var out []TrackerInfo
	for _, i := range n.trackers.List(ctx) {
		info := TrackerInfo{Number: i.Number, Address: i.Address, State: "reachable"}
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
