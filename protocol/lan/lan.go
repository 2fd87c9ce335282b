// Package lan finds trackers on the local network, by multicast DNS. Trackers
// announce themselves with it; clients look for them. What is found is only
// said: whoever is in the network can announce anything, so a client connects
// to see whether a tracker is who it is said to be, and asks its user before it
// tells it anything.
//
// The records are those of go-libp2p's p2p/discovery/mdns: a service whose
// instances have a text "dnsaddr=<multiaddr>/p2p/<peer id>" for each address. Its
// Service is not used, since it announces everybody who looks, clients too.
package lan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/zeroconf/v2"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// Service is the name under which trackers announce themselves.
	Service = "_p2pshare._udp"
	domain  = "local"
	prefix  = "dnsaddr="
	// anyPort stands in the record that the form demands a port of; the
	// addresses are in the texts.
	anyPort = 4001
	// askAgain is after how long a question is put anew: a packet may be lost.
	askAgain = time.Second
)

// errNoInterface tells that there is no network to ask.
var errNoInterface = errors.New("no network interface here is up and can multicast")

// Announce tells the local network that the host h is a tracker, until stop is
// called. Its addresses are those of now.
func Announce(h host.Host) (stop func(), err error) {
	listening, err := h.Network().InterfaceListenAddresses()
	if err != nil {
		return nil, fmt.Errorf("announce on the local network: %w", err)
	}
	addrs := worthTelling(listening)
	if len(addrs) == 0 {
		return nil, errors.New("announce on the local network: there is no address to tell")
	}
	if len(interfaces()) == 0 {
		return nil, fmt.Errorf("announce on the local network: %w", errNoInterface)
	}
	id := h.ID().String()
	var ips, texts []string
	for _, a := range addrs {
		if ip, err := manet.ToIP(a); err == nil && len(ips) == 0 {
			ips = append(ips, ip.String())
		}
		texts = append(texts, prefix+a.String()+"/p2p/"+id)
	}
	server, err := zeroconf.RegisterProxy(id, Service, domain, anyPort, id, ips, texts, nil)
	if err != nil {
		return nil, fmt.Errorf("announce on the local network: %w", err)
	}
	return server.Shutdown, nil
}

// worthTelling returns the TCP addresses (QUIC is at the same port) that others
// may be able to dial, those that only this machine can behind the others.
func worthTelling(all []ma.Multiaddr) []ma.Multiaddr {
	var near, far []ma.Multiaddr
	for _, a := range all {
		ip, err := manet.ToIP(a)
		if err != nil || len(a) != 2 || a[1].Protocol().Code != ma.P_TCP || ip.IsLinkLocalUnicast() || ip.IsUnspecified() {
			continue
		}
		if ip.IsLoopback() {
			near = append(near, a)
		} else {
			far = append(far, a)
		}
	}
	out := slices.Concat(far, near)
	return out[:min(len(out), protocol.MaxAddrs)]
}

// Find looks for trackers until ctx ends, and calls found for each that
// announces itself: once, with the addresses that it told first, and always from
// the goroutine that called Find. It fails if there is no network to ask.
func Find(ctx context.Context, found func(peer.AddrInfo)) error {
	if len(interfaces()) == 0 {
		return errNoInterface
	}
	heard := make(chan peer.AddrInfo)
	kinds := []zeroconf.IPType{zeroconf.IPv4, zeroconf.IPv6}
	ended := make(chan error, len(kinds))
	for _, kind := range kinds {
		// Each by itself: many machines have but one of them.
		go func() {
			var err error
			for ctx.Err() == nil && err == nil {
				err = ask(ctx, kind, heard)
			}
			ended <- err
		}()
	}
	told := map[peer.ID]bool{}
	var failed error
	for left := len(kinds); left > 0; {
		select {
		case info := <-heard:
			if !told[info.ID] && len(told) < protocol.MaxElements {
				told[info.ID] = true
				found(info)
			}
		case err := <-ended:
			left--
			if err != nil && failed != nil {
				return fmt.Errorf("ask the local network: %w", err)
			}
			if err != nil {
				failed = err
			}
		}
	}
	return nil
}

// ask puts the question once and listens for a while.
func ask(ctx context.Context, kind zeroconf.IPType, heard chan<- peer.AddrInfo) error {
	ctx, cancel := context.WithTimeout(ctx, askAgain)
	defer cancel()
	entries := make(chan *zeroconf.ServiceEntry, 16)
	ended := make(chan error, 1)
	go func() { ended <- zeroconf.Browse(ctx, Service, domain, entries, zeroconf.SelectIPTraffic(kind)) }()
	for {
		select {
		case e, open := <-entries:
			if !open {
				return <-ended
			}
			for _, info := range Parse(e.Text) {
				select {
				case heard <- info:
				case <-ctx.Done(): // entries is read until its end
				}
			}
		case err := <-ended: // without closing entries, if it could not begin
			return err
		}
	}
}

// Parse reads the texts of an announcement. What is no TCP address of an IP with
// an id is left out, and so is what is beyond protocol.MaxAddrs texts.
func Parse(texts []string) []peer.AddrInfo {
	var infos []peer.AddrInfo
	for _, text := range texts[:min(len(texts), protocol.MaxAddrs)] {
		text, ok := strings.CutPrefix(text, prefix)
		if !ok {
			continue
		}
		full, err := ma.NewMultiaddr(text)
		if err != nil {
			continue
		}
		info, err := peer.AddrInfoFromP2pAddr(full)
		if err != nil || len(worthTelling(info.Addrs)) == 0 {
			continue
		}
		if i := slices.IndexFunc(infos, func(o peer.AddrInfo) bool { return o.ID == info.ID }); i >= 0 {
			infos[i].Addrs = append(infos[i].Addrs, info.Addrs...)
			continue
		}
		infos = append(infos, *info)
	}
	return infos
}

// interfaces are those that can multicast.
func interfaces() []net.Interface {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(all, func(i net.Interface) bool {
		return i.Flags&net.FlagUp == 0 || i.Flags&net.FlagMulticast == 0
	})
}
