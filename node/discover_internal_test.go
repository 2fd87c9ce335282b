package node

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol"
	p2phost "github.com/p2pshare/p2pshare/protocol/host"
)

func looker(t *testing.T, listen ...string) host.Host {
	t.Helper()
	o := p2phost.Options{Key: testKey(t)}
	for _, text := range listen {
		addr, err := ma.NewMultiaddr(text)
		if err != nil {
			t.Fatal(err)
		}
		o.Listen = append(o.Listen, addr)
	}
	h, err := p2phost.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// announcing is a network in which these are announced.
func announcing(infos ...peer.AddrInfo) func(context.Context, func(peer.AddrInfo)) error {
	return func(ctx context.Context, found func(peer.AddrInfo)) error {
		for _, info := range infos {
			found(info)
		}
		<-ctx.Done()
		return nil
	}
}

// Announced trackers count if they have the key of their id. One who announces
// somebody else's address, or an id that is not his, is left out.
func TestDiscoverBelievesNoAnnouncement(t *testing.T) {
	t.Parallel()
	const loopback = "/ip4/127.0.0.1/tcp/0"
	a, b, liar := looker(t, loopback), looker(t, loopback), looker(t, loopback)
	at := func(id host.Host, where ...host.Host) peer.AddrInfo {
		info := peer.AddrInfo{ID: id.ID()}
		for _, h := range where {
			for _, addr := range h.Addrs() {
				if _, err := addr.ValueForProtocol(ma.P_TCP); err == nil {
					info.Addrs = append(info.Addrs, addr)
				}
			}
		}
		return info
	}
	gone := looker(t, loopback)
	nobody := at(gone, gone)
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	found, err := discover(t.Context(), looker(t), announcing(at(a, a), at(liar, a), nobody, at(b, b)))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, h := range []host.Host{a, b} {
		for _, addr := range at(h, h).Addrs {
			port, _ := addr.ValueForProtocol(ma.P_TCP)
			want["127.0.0.1:"+port] = h.ID().String()
		}
	}
	if len(found) != 2 || want[found[0].Address] != found[0].ID || want[found[1].Address] != found[1].ID || found[0] == found[1] {
		t.Errorf("found %v, want %v", found, want)
	}
}

func TestDiscoverFindsNone(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := discover(ctx, looker(t), announcing())
	if protocol.CodeOf(err) != protocol.CodeNoTracker || !strings.Contains(err.Error(), "no tracker announces itself") {
		t.Errorf("in an empty network: %v", err)
	}
	broken := errors.New("there is no network")
	_, err = discover(t.Context(), looker(t), func(context.Context, func(peer.AddrInfo)) error { return broken })
	if protocol.CodeOf(err) != protocol.CodeNoTracker || !errors.Is(err, broken) {
		t.Errorf("without a network: %v", err)
	}
}

// However many are announced, few are contacted.
func TestDiscoverIsBounded(t *testing.T) {
	t.Parallel()
	addr, err := ma.NewMultiaddr("/ip4/127.0.0.1/tcp/1")
	if err != nil {
		t.Fatal(err)
	}
	a := looker(t, "/ip4/127.0.0.1/tcp/0")
	infos := make([]peer.AddrInfo, 0, maxDiscovered+1)
	for range maxDiscovered {
		id, err := peer.IDFromPrivateKey(testKey(t))
		if err != nil {
			t.Fatal(err)
		}
		infos = append(infos, peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{addr}})
	}
	infos = append(infos, peer.AddrInfo{ID: a.ID(), Addrs: a.Addrs()})
	if found, err := discover(t.Context(), looker(t), announcing(infos...)); err == nil {
		t.Errorf("one too many was contacted: %v", found)
	}
	if len(a.Network().Peers()) != 0 {
		t.Error("one too many was contacted")
	}
}
