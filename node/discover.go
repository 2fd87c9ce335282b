package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/dial"
	p2phost "github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/lan"
)

const (
	// discoverTime is how long the local network is asked at most, and
	// discoverQuiet after how long without a further tracker those found are all:
	// the question is put again every second.
	discoverTime  = 4500 * time.Millisecond
	discoverQuiet = 2 * time.Second
	// discoverDial is how long a tracker may take to prove who it is, be it heard
	// at the last moment.
	discoverDial = 2 * time.Second
	// maxDiscovered bounds how many announced trackers are contacted: anybody can
	// announce any number.
	maxDiscovered = 64
)

// Discovered is a tracker of the local network.
type Discovered struct {
	Address string // IP:PORT; WithTrackers takes it
	ID      string
}

// Discover finds trackers that announce themselves on the local network and
// prove to have the key of the id that they announce. It takes two to five
// seconds, two more where one that was heard is slow to prove that. That they are the right ones it does not know: whoever is in the
// network may run a tracker. Pass the addresses to WithTrackers, and WithConfirm
// is asked about each id before anything else is sent. E_NO_TRACKER if none is found.
func Discover(ctx context.Context) ([]Discovered, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key to look around with: %w", err)
	}
	h, err := p2phost.New(p2phost.Options{Key: key})
	if err != nil {
		return nil, fmt.Errorf("look for trackers: %w", err)
	}
	found, err := discover(ctx, h, lan.Find)
	return found, errors.Join(err, h.Close())
}

// discover is Discover with a host and a way to find trackers.
func discover(ctx context.Context, h host.Host, find func(context.Context, func(peer.AddrInfo)) error) ([]Discovered, error) {
	asking, enough := context.WithTimeout(ctx, discoverTime)
	defer enough()
	quiet := time.AfterFunc(discoverTime, enough)
	defer quiet.Stop()
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		found []Discovered
	)
	seen := 0
	err := find(asking, func(info peer.AddrInfo) {
		if seen++; seen > maxDiscovered {
			return
		}
		wg.Go(func() {
			address, err := provenAt(ctx, h, info)
			if err != nil {
				log.Infow("an announced tracker does not answer", "tracker", info.ID, "err", err)
				return
			}
			mu.Lock()
			found = append(found, Discovered{Address: address, ID: info.ID.String()})
			mu.Unlock()
			quiet.Reset(discoverQuiet)
		})
	})
	wg.Wait()
	switch {
	case len(found) > 0:
	case err != nil:
		return nil, protocol.Errorf(protocol.CodeNoTracker, "trackers cannot be looked for on the local network: %w; use a TRACKER_INFO", err)
	default:
		return nil, protocol.Errorf(protocol.CodeNoTracker, "no tracker announces itself on the local network, or none of them answers; is one running, and in the same network as this machine?")
	}
	slices.SortFunc(found, func(a, b Discovered) int { return strings.Compare(a.Address, b.Address) })
	// One address can be that of one tracker only.
	return slices.CompactFunc(found, func(a, b Discovered) bool { return a.Address == b.Address }), nil
}

// provenAt connects to a tracker, which proves its id, and returns where.
func provenAt(ctx context.Context, h host.Host, info peer.AddrInfo) (address string, err error) {
	ctx, cancel := context.WithTimeout(ctx, discoverDial)
	defer cancel()
	if err := dial.Connect(ctx, h, info.ID, info.Addrs, dial.Options{TCP: discoverDial}); err != nil {
		return "", err
	}
	for _, conn := range h.Network().ConnsToPeer(info.ID) {
		at := conn.RemoteMultiaddr()
		ip, port := "", ""
		ma.ForEach(at, func(c ma.Component) bool {
			switch c.Protocol().Code {
			case ma.P_IP4, ma.P_IP6:
				ip = c.Value()
			case ma.P_TCP:
				port = c.Value()
			}
			return true
		})
		if ip != "" && port != "" {
			return net.JoinHostPort(ip, port), nil
		}
	}
	return "", errors.New("it is connected at no TCP address")
}
