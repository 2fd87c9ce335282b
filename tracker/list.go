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
// what they wrote stays. Clients are told. E_CONFIG, and nothing changes, if a
// tracker has no id, or if this one's own line is gone or has another address:
// that takes a restart.
func (t *Tracker) SetTrackers(entries []roster.Entry) error {
	list, err := checkList(entries)
	if err != nil {
		return err
	}
	if err := t.checkOwn(entries); err != nil {
		return err
	}
	t.listMu.Lock()
	defer t.listMu.Unlock()
	t.rpc.SetRoster(list)
	entries = slices.Clone(entries)
	t.list.Store(&entries)
	t.replica.SetRoster(withoutSelf(list, t.own.ID))
	t.note(Activity{What: "list changed", Result: "ok", Detail: fmt.Sprintf("%d trackers", len(list))})
	return nil
}

func (t *Tracker) checkOwn(entries []roster.Entry) error {
	for _, e := range entries {
		switch {
		case e.ID != t.own.ID:
		case !e.Addr.Equal(t.own.Addr):
			return protocol.Errorf(protocol.CodeConfig,
				"line %d gives this tracker another address (%s, it serves at %s); restart it to move it", e.Line, e.Addr, t.own.Addr)
		default:
			return nil
		}
	}
	return protocol.Errorf(protocol.CodeConfig, "the list does not name this tracker (%s) any more; end it, or put its line back", t.own.ID)
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
