package lan_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/internal/frugal"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/lan"
)

// newHost is a host that listens on loopback: what is announced of it reaches
// others, who can do nothing with it.
func newHost(t *testing.T) libp2phost.Host {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := ma.NewMultiaddr("/ip4/127.0.0.1/tcp/0")
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(host.Options{Key: key, Listen: []ma.Multiaddr{addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// multicasts skips the test where a packet to the group does not come back.
func multicasts(t *testing.T) {
	t.Helper()
	group := &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}
	in, err := net.ListenMulticastUDP("udp4", nil, group)
	if err != nil {
		t.Skipf("this machine has no multicast: %v", err)
	}
	defer in.Close()
	out, err := net.DialUDP("udp4", nil, group)
	if err != nil {
		t.Skipf("this machine has no multicast: %v", err)
	}
	defer out.Close()
	mark := []byte("p2pshare " + rand.Text())
	if _, err := out.Write(mark); err != nil {
		t.Skipf("this machine does not let us multicast: %v", err)
	}
	if err := in.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for buf := make([]byte, 64<<10); ; {
		n, err := in.Read(buf)
		if err != nil {
			t.Skipf("what this machine multicasts does not come back to it: %v", err)
		}
		if slices.Equal(buf[:n], mark) {
			return
		}
	}
}

// wait is for what takes a second.
const wait = 20 * time.Second

// find looks until ok is true of what was found, and returns it.
func find(t *testing.T, ok func(map[peer.ID]peer.AddrInfo) bool) map[peer.ID]peer.AddrInfo {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	all := map[peer.ID]peer.AddrInfo{}
	err := lan.Find(ctx, func(info peer.AddrInfo) {
		if _, again := all[info.ID]; again {
			t.Errorf("%s was told twice", info.ID)
		}
		all[info.ID] = info
		if ok(all) {
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAnnouncedTrackersAreFound(t *testing.T) {
	multicasts(t)
	a, b := newHost(t), newHost(t)
	for _, h := range []libp2phost.Host{a, b} {
		stop, err := lan.Announce(h)
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
	}
	// Other trackers may be in this network; they are none of our business.
	all := find(t, func(all map[peer.ID]peer.AddrInfo) bool { return len(all[a.ID()].Addrs)*len(all[b.ID()].Addrs) > 0 })
	for _, h := range []libp2phost.Host{a, b} {
		if got := all[h.ID()].Addrs; len(got) != 1 || !got[0].Equal(h.Addrs()[0]) {
			t.Errorf("found at %v, want %v", got, h.Addrs()[0])
		}
	}
}

// notifee is told by go-libp2p's own discovery.
type notifee chan peer.AddrInfo

func (n notifee) HandlePeerFound(info peer.AddrInfo) { n <- info }

// Other programs of libp2p find trackers as they find everything, and are not
// found as trackers.
func TestTheFormIsThatOfLibp2p(t *testing.T) {
	multicasts(t)
	tracker, other := newHost(t), newHost(t)
	stop, err := lan.Announce(tracker)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	found := make(notifee, 1000)
	service := mdns.NewMdnsService(other, lan.Service, found)
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	// Where there is no IPv6, closing it never ends.
	defer func() { go func() { _ = service.Close() }() }()
	deadline := time.After(wait)
	for {
		select {
		case info := <-found:
			if info.ID != tracker.ID() {
				continue
			}
			if len(info.Addrs) != 1 || !info.Addrs[0].Equal(tracker.Addrs()[0]) {
				t.Errorf("found at %v, want %v", info.Addrs, tracker.Addrs())
			}
			return
		case <-deadline:
			t.Fatal("libp2p's discovery does not find the tracker")
		}
	}
}

func TestFindEndsWithItsContext(t *testing.T) {
	multicasts(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := lan.Find(ctx, func(peer.AddrInfo) {}); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestParse(t *testing.T) {
	const id = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
	const other = "12D3KooWGRUaAGHkKNLrMyB7CSf4oQpPyJFBVQm8JTWDJXqyZFqZ"
	tests := []struct {
		name  string
		texts []string
		want  string // addresses
	}{
		{"nothing", nil, ""},
		{"one", []string{"dnsaddr=/ip4/192.0.2.1/tcp/5000/p2p/" + id}, "/ip4/192.0.2.1/tcp/5000"},
		{"two of one", []string{"dnsaddr=/ip4/192.0.2.1/tcp/5000/p2p/" + id, "dnsaddr=/ip6/2001:db8::1/tcp/5000/p2p/" + id}, "/ip4/192.0.2.1/tcp/5000 /ip6/2001:db8::1/tcp/5000"},
		{"something else", []string{"version=1", ""}, ""},
		{"what is not dialled", []string{
			"dnsaddr=/ip4/192.0.2.1/udp/5000/quic-v1/p2p/" + id, "dnsaddr=/dns4/example.org/tcp/5000/p2p/" + id, "dnsaddr=/ip6/fe80::1/tcp/5000/p2p/" + id,
			"dnsaddr=/ip4/0.0.0.0/tcp/5000/p2p/" + id, "dnsaddr=/ip4/192.0.2.1/tcp/5000/ws/p2p/" + id, "dnsaddr=/unix/tmp/x/p2p/" + id,
			"dnsaddr=/ip4/192.0.2.1/tcp/5000/p2p/" + id + "/p2p-circuit/p2p/" + id,
		}, ""},
		{"no id", []string{"dnsaddr=/ip4/192.0.2.1/tcp/5000"}, ""},
		{"an id alone", []string{"dnsaddr=/p2p/" + id}, ""},
		{"garbage before one", []string{"dnsaddr=\x1b[2J", "dnsaddr=/ip4/192.0.2.1/tcp/5000/p2p/" + id}, "/ip4/192.0.2.1/tcp/5000"},
		{"too many", slices.Repeat([]string{"dnsaddr=/ip4/192.0.2.1/tcp/5000/p2p/" + id}, 9), strings.TrimSpace(strings.Repeat("/ip4/192.0.2.1/tcp/5000 ", 8))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, info := range lan.Parse(tt.texts) {
				for _, a := range info.Addrs {
					got = append(got, a.String())
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("Parse = %v, want %q", got, tt.want)
			}
		})
	}
	infos := lan.Parse([]string{"dnsaddr=/ip4/192.0.2.1/tcp/1/p2p/" + id, "dnsaddr=/ip4/192.0.2.2/tcp/2/p2p/" + other, "dnsaddr=/ip4/192.0.2.1/tcp/3/p2p/" + id})
	if len(infos) != 2 || len(infos[0].Addrs) != 2 || len(infos[1].Addrs) != 1 {
		t.Errorf("two trackers in one announcement: %v", infos)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("dnsaddr=/ip4/192.0.2.1/tcp/5000/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN")
	f.Add("dnsaddr=/p2p-circuit")
	f.Add("dnsaddr=/ip6zone/x/ip6/fe80::1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN")
	f.Fuzz(func(t *testing.T, text string) {
		defer frugal.Check(t)()
		for _, info := range lan.Parse(strings.Split(text, "\n")) {
			if len(info.Addrs) == 0 || len(info.Addrs) > protocol.MaxAddrs || info.ID == "" {
				t.Errorf("an empty announcement: %v", info)
			}
		}
	})
}
