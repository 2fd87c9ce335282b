package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	libp2phost "github.com/libp2p/go-libp2p/core/host"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol/host"
)

// announcedSeeder shares a file as a user who has an account, and tells the
// trackers another address than its own, so that members reach it through a
// proxy: announced-seeder DATA TRACKER_INFO ADDRESS USER PASSWORD GROUP FILE. It
// prints its own address, then a line when the file is shared, and ends with its
// standard input.
func announcedSeeder() {
	plainRun(func(args []string) error { return seedAs(context.Background(), args) })
}

// announcedHost tells an address that is not its own.
type announcedHost struct {
	libp2phost.Host
	addr ma.Multiaddr
}

func (h announcedHost) Addrs() []ma.Multiaddr { return []ma.Multiaddr{h.addr} }

func seedAs(ctx context.Context, args []string) error {
	key, _, err := host.LoadKey(args[0], true)
	if err != nil {
		return err
	}
	h, err := host.New(host.Options{Key: key, Listen: []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/0")}})
	if err != nil {
		return err
	}
	for _, a := range h.Addrs() {
		if _, err := a.ValueForProtocol(ma.P_TCP); err != nil {
			continue
		}
		own, err := manet.ToNetAddr(a)
		if err != nil {
			return err
		}
		fmt.Println(own)
	}
	announced, err := ma.NewMultiaddr(args[2])
	if err != nil {
		return err
	}
	n, err := node.New(node.WithDataDir(args[0]), node.WithTrackerFile(args[1]), node.WithHost(announcedHost{h, announced}))
	if err != nil {
		return err
	}
	if _, err := n.Login(ctx, args[3], args[4]); err != nil {
		return err
	}
	if _, _, err := n.Share(ctx, args[5], args[6], nil); err != nil {
		return err
	}
	fmt.Println("shared")
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, n.Close(), h.Close())
}
