package tracker

import (
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/roster"
)

// SetTrackers replaces the network's list while the tracker serves. Added ones
// are caught up with and trusted; removed ones are strangers from now on,
// what they wrote stays. Clients are told. If this one's own line is gone it
// serves nothing until that is back. E_CONFIG, and nothing changes, if the list is
// empty, if a tracker has no id, or if this one has another address: that takes a
// restart.
func (t *Tracker) SetTrackers(entries []roster.Entry) error {
	list, err := checkList(entries)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return protocol.Errorf(protocol.CodeConfig, "the list names no tracker")
	}
	if err := t.checkOwn(entries); err != nil {
		return err
	}
	t.listMu.Lock()
	defer t.listMu.Unlock()
	t.replica.SetDropped(!t.isIn(entries))
	t.rpc.SetRoster(list)
	entries = slices.Clone(entries)
	t.list.Store(&entries)
	t.replica.SetRoster(withoutSelf(list, t.own.ID))
	t.note(Activity{What: "list changed", Result: "ok", Detail: fmt.Sprintf("%d trackers", len(list))})
	return nil
}

// checkOwn checks that this tracker is where the list says, if it names it.
func (t *Tracker) checkOwn(entries []roster.Entry) error {
	for _, e := range entries {
		if e.ID == t.own.ID && !e.Addr.Equal(t.own.Addr) {
			return protocol.Errorf(protocol.CodeConfig,
				"line %d gives this tracker another address (%s, it serves at %s); restart it to move it", e.Line, e.Addr, t.own.Addr)
		}
	}
	return nil
}

// isIn reports whether a list names this tracker.
func (t *Tracker) isIn(list []roster.Entry) bool {
	return slices.ContainsFunc(list, func(e roster.Entry) bool { return e.ID == t.own.ID })
}

// checkList checks that all have ids, and returns the list as the others see it.
func checkList(entries []roster.Entry) ([]peer.AddrInfo, error) {
	var list []peer.AddrInfo
	for _, e := range entries {
		if e.ID == "" {
			return nil, protocol.Errorf(protocol.CodeConfig,
				"tracker %d (%s, line %d) has no id, so nobody could trust it; run: p2pshare tracker init TRACKER_INFO",
				e.Number, protocol.Printable(e.Text), e.Line)
		}
		list = append(list, peer.AddrInfo{ID: e.ID, Addrs: e.Addrs()})
	}
	return list, nil
}

func withoutSelf(list []peer.AddrInfo, self peer.ID) []peer.AddrInfo {
	var out []peer.AddrInfo
	for _, t := range list {
		if t.ID != self {
			out = append(out, t)
		}
	}
	return out
}
