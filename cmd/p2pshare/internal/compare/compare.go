// Package compare measures what peer to peer gains: one file to N clients, all
// from one server and then from each other, on links of the same rate. Every
// host is a node of this program with its limits set; nothing of the transfer
// is written again here. The compare command is its user.
package compare

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

// Config says what to measure. Rates are bytes per second.
type Config struct {
	Peers            []int // numbers of clients, each at least 1
	Size             int64 // of the file, bytes
	Uplink, Downlink int64 // of every host, the server's too
	// Out is the folder of plot and table; it is made if need be.
	Out string
	// Progress is told about ten times a second; nil for nobody.
	Progress func(Progress)
}

// Progress is where a measurement stands.
type Progress struct {
	Central     bool // from one server; else from each other
	Peers       int
	Done, Total int64 // bytes, over all clients
}

// Row is what was measured with one number of clients. Times are from the start
// of the downloads, all at once, to the end of the last one.
type Row struct {
	Peers        int     `json:"peers"`
	Central      float64 `json:"central_s"`
	PeerToPeer   float64 `json:"peer_to_peer_s"`
	Gain         float64 `json:"gain"`
	CentralBound float64 `json:"central_bound_s"`
	Bound        float64 `json:"bound_s"`
	Ratio        float64 `json:"ratio"` // peer to peer over its bound
	// SeederCopies is what the first owner of the file sent in the
	// peer-to-peer run, in copies of the file.
	SeederCopies float64 `json:"seeder_copies"`
}

// The limits of what one machine can show.
const (
	maxPeers = 100
	minSize  = 1 << 20
	// hostMemory is what a host takes while it fetches: pieces in flight,
	// windows of its streams, and the rest of a node.
	hostMemory = 48 << 20
)

// Check refuses what cannot be measured here, before anything starts. Errors:
// E_CONFIG, E_PERM, E_DISK_FULL.
func (c Config) Check() error { return c.check(freeMemory("/")) }

func (c Config) check(free int64, known bool) error {
	if len(c.Peers) == 0 {
		return protocol.Errorf(protocol.CodeConfig, "--peers: at least one number of clients is needed")
	}
	most := 0
	for _, n := range c.Peers {
		if n < 1 || n > maxPeers {
			return protocol.Errorf(protocol.CodeConfig, "--peers %d: from 1 to %d", n, maxPeers)
		}
		most = max(most, n)
	}
	switch {
	case c.Size < minSize:
		return protocol.Errorf(protocol.CodeConfig, "--size %d: at least 1 MiB, or there is nothing to measure", c.Size)
	case c.Uplink < node.MinLimit || c.Downlink < node.MinLimit:
		return protocol.Errorf(protocol.CodeConfig, "--uplink, --downlink: at least %d KiB per second", node.MinLimit>>10)
	}
	need := int64(most+1) * hostMemory
	if known && free < need {
		return protocol.Errorf(protocol.CodeConfig, "--peers %d: needs about %s of memory, %s are free; take fewer peers",
			most, humanize.IBytes(uint64(need)), humanize.IBytes(uint64(free)))
	}
	// The original, and each client's copy, which the run before may not have cleared yet.
	if err := checkRoom(os.TempDir(), c.Size*int64(most+2)); err != nil {
		return err
	}
	return checkWritable(c.Out)
}

// checkWritable makes the folder and tries it.
func checkWritable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return protocol.Errorf(protocol.CodePerm, "--out: the folder cannot be made: %w", err)
	}
	f, err := os.CreateTemp(dir, ".p2pshare-*")
	if err != nil {
		return protocol.Errorf(protocol.CodePerm, "--out: nothing can be written there: %w", err)
	}
	_ = f.Close() // nothing was written
	if err := os.Remove(f.Name()); err != nil {
		return fmt.Errorf("try %s: %w", filepath.Base(dir), err)
	}
	return nil
}

// Run measures each number of clients, and returns the rows in the order of Peers.
func Run(ctx context.Context, c Config) (rows []Row, err error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	most := 0
	for _, n := range c.Peers {
		most = max(most, n)
	}
	w, err := open(ctx, c, most)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := w.close(); err == nil {
			err = closeErr
		}
	}()
	for _, n := range c.Peers {
		row, err := w.measure(ctx, n)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (w *world) measure(ctx context.Context, n int) (Row, error) {
	central, _, err := w.distribute(ctx, n, true)
	if err != nil {
		return Row{}, fmt.Errorf("from one server to %d: %w", n, err)
	}
	between, sent, err := w.distribute(ctx, n, false)
	if err != nil {
		return Row{}, fmt.Errorf("between %d peers: %w", n, err)
	}
	bounds := boundsOf(w.cfg, n)
	return Row{
		Peers: n, Central: central.Seconds(), PeerToPeer: between.Seconds(),
		Gain:         central.Seconds() / between.Seconds(),
		CentralBound: bounds.central.Seconds(), Bound: bounds.peerToPeer.Seconds(),
		Ratio:        between.Seconds() / bounds.peerToPeer.Seconds(),
		SeederCopies: float64(sent) / float64(w.cfg.Size),
	}, nil
}

// bounds are the shortest times that links allow.
type bounds struct{ central, peerToPeer time.Duration }

// boundsOf: a server must send N copies and each client receive one; between
// peers the server must send one copy, each client receive one, and all uplinks
// together carry N.
func boundsOf(c Config, n int) bounds {
	size, up, down := float64(c.Size), float64(c.Uplink), float64(c.Downlink)
	copies := float64(n)
	return bounds{
		central:    seconds(max(copies*size/up, size/down)),
		peerToPeer: seconds(max(size/up, size/down, copies*size/(up+copies*up))),
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
