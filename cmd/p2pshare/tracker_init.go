package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/urfave/cli/v2"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/host"
	"github.com/p2pshare/p2pshare/protocol/roster"
	"github.com/p2pshare/p2pshare/tracker"
)

func trackerInit(c *cli.Context, std streams) error {
	if !c.Args().Present() {
		return usagef("tracker init: TRACKER_INFO is missing; usage: p2pshare tracker init TRACKER_INFO [ADDR...]")
	}
	path, addrs := c.Args().First(), c.Args().Tail()
	content, err := listContent(path, addrs)
	if err != nil {
		return err
	}
	entries, err := roster.Parse(path, content)
	if err != nil {
		return err
	}
	ids, isNew, err := makeKeys(path, entries)
	if err != nil {
		return err
	}
	if len(ids) == 0 && len(addrs) == 0 {
		fmt.Fprintf(std.err, "nothing to do: all %d trackers of %s have ids already\n", len(entries), protocol.Printable(path))
		return nil
	}
	filled, err := roster.Fill(content, ids)
	if err != nil {
		return err
	}
	if err := writeList(path, filled, len(addrs) > 0); err != nil {
		return err
	}
	for _, e := range entries {
		if id, made := ids[e.Number]; made {
			fmt.Fprintf(std.out, "tracker %d\t%s\t%s\n", e.Number, roster.Format(e.Addr, id), trackerDir(path, e.Number))
		}
	}
	if isNew {
		fmt.Fprintf(std.err, "a new network; run each tracker with: p2pshare tracker %s NUMBER\n", path)
	} else {
		fmt.Fprintln(std.err, "added to the network that the list had; give the new list to all trackers and clients")
	}
	return nil
}

// listContent returns the list to fill in: that of the addresses, or what is in
// the file. A file that exists is never replaced by addresses.
func listContent(path string, addrs []string) ([]byte, error) {
	if len(addrs) == 0 {
		content, err := roster.ReadContent(path)
		if errors.Is(err, protocol.ErrNotFound) {
			return nil, protocol.Errorf(protocol.CodeNotFound, "the tracker list %s does not exist; name the addresses of the trackers behind it to make one", protocol.Quote(path))
		}
		return content, err
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, protocol.Errorf(protocol.CodeTargetExists, "%s already exists; leave the addresses out to complete it, or name another file", protocol.Quote(path))
	}
	for _, a := range addrs {
		if _, _, err := roster.ParseAddr(a); err != nil {
			return nil, err
		}
	}
	return []byte("# The trackers of this network, one a line.\n" + strings.Join(addrs, "\n") + "\n"), nil
}

// makeKeys makes a key for each entry without an id, or takes the one that is
// in its folder already, and returns their ids. Where no entry had an id before
// it is a new network, and each folder is marked so.
func makeKeys(path string, entries []roster.Entry) (ids map[int]peer.ID, isNew bool, err error) {
	isNew = true
	for _, e := range entries {
		isNew = isNew && e.ID == ""
	}
	network := protocol.NewNetworkID()
	ids = make(map[int]peer.ID)
	for _, e := range entries {
		if e.ID != "" {
			continue
		}
		dir := trackerDir(path, e.Number)
		key, _, err := host.LoadKey(dir, true)
		if err != nil {
			return nil, false, err
		}
		if ids[e.Number], err = peer.IDFromPrivateKey(key); err != nil {
			return nil, false, fmt.Errorf("derive the id of %s: %w", dir, err)
		}
		if isNew {
			if err := tracker.MarkNew(dir, network); err != nil {
				return nil, false, err
			}
		}
	}
	return ids, isNew, nil
}

// trackerDir is the folder of a tracker: beside the list.
func trackerDir(path string, number int) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf("tracker-%d", number))
}

// writeList puts the list in its place in one step. A new one replaces nothing,
// whoever else makes one at the same moment.
func writeList(path string, content []byte, fresh bool) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".p2pshare-*")
	if err == nil {
		defer os.Remove(tmp.Name())
		_, err = tmp.Write(content)
		err = errors.Join(err, tmp.Chmod(listMode(path)), tmp.Sync(), tmp.Close())
	}
	switch {
	case err == nil && fresh:
		if err = os.Link(tmp.Name(), path); errors.Is(err, fs.ErrExist) {
			return protocol.Errorf(protocol.CodeTargetExists, "%s already exists", protocol.Quote(path))
		}
	case err == nil:
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return protocol.Errorf(protocol.CodeConfig, "the tracker list cannot be written: %w", err)
	}
	return nil
}

// listMode is the mode of the file that is there, or one that all may read: the
// list is no secret.
func listMode(path string) fs.FileMode {
	if info, err := os.Stat(path); err == nil {
		return info.Mode().Perm()
	}
	return 0o644
}

func trackerID(c *cli.Context, std streams) error {
	if c.NArg() != 1 || c.String("data") == "" {
		return usagef("usage: p2pshare tracker id --data DIR ADDR")
	}
	addr, id, err := roster.ParseAddr(c.Args().First())
	if err != nil {
		return err
	}
	if id != "" {
		return usagef("ADDR must be without an id: it is the key in %s that gives it", protocol.Quote(c.String("data")))
	}
	key, _, err := host.LoadKey(c.String("data"), true)
	if err != nil {
		return err
	}
	if id, err = peer.IDFromPrivateKey(key); err != nil {
		return fmt.Errorf("derive the id of %s: %w", c.String("data"), err)
	}
	fmt.Fprintln(std.out, roster.Format(addr, id))
	return nil
}
