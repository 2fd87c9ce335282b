package node

import (
	"runtime"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/node/internal/swarm"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/roster"
)

// minWorkers is how many pieces may be verified at once, and written by each
// download, however few CPUs there are: writes wait for the disk.
const minWorkers = 4

// MinLimit is the lowest limit of a rate that a node takes, in bytes per second:
// members take less for a broken connection.
const MinLimit = piece.MinLimit

const (
	// MinMemory is the lowest bound that WithMemory takes, in bytes: two pieces of
	// an ordinary file, which every download may have under way.
	MinMemory = 2 * protocol.PieceLength
	// defaultMemory lets one peer on a fast and far connection be asked for enough,
	// and holds two of the longest pieces.
	defaultMemory = 32 << 20
)

// budgetSpan is well below protocol.PieceSilence.
const budgetSpan = 4 * time.Second

// Option sets one thing of a Node; New validates.
type Option func(*config)

type config struct {
	dir       string
	listFile  string
	addrs     []string
	entries   []roster.Entry
	confirm   func(address, id string) bool
	listen    string
	downloads string
	workers   int
	memory    int64 // of pieces under way, in bytes
	host      host.Host
	now       func() time.Time
	grace     time.Duration // of tickets, while no tracker is reachable
	log       func(Event)
	// Bytes per second, zero for no bound.
	uploadLimit, downloadLimit int64

	listenAddr ma.Multiaddr // from listen
}

// WithDataDir sets the folder of key, session, shares and unfinished downloads. Needed.
func WithDataDir(dir string) Option { return func(c *config) { c.dir = dir } }

// WithTrackerFile reads the network's trackers from a TRACKER_INFO.
func WithTrackerFile(path string) Option { return func(c *config) { c.listFile = path } }

// WithTrackers names the network's trackers: addresses as in TRACKER_INFO.
func WithTrackers(addrs ...string) Option { return func(c *config) { c.addrs = addrs } }

// WithTrackerEntries is WithTrackers for a list already read.
func WithTrackerEntries(entries ...roster.Entry) Option {
	return func(c *config) { c.entries = entries }
}

// WithConfirm is asked about a tracker listed without an id, before anything
// is sent to it; without it such trackers are E_TRACKER_NEW.
func WithConfirm(f func(address, id string) bool) Option { return func(c *config) { c.confirm = f } }

// WithListen sets where members reach this client, IP:PORT; default 0.0.0.0:0.
func WithListen(addr string) Option { return func(c *config) { c.listen = addr } }

// WithDownloadDir sets where downloads go by default; default the current folder.
func WithDownloadDir(dir string) Option { return func(c *config) { c.downloads = dir } }

// WithWorkers bounds pieces being verified at once; default twice the number of
// CPUs, at least 4.
func WithWorkers(n int) Option { return func(c *config) { c.workers = n } }

// WithMemory bounds the pieces under way of all downloads together, in bytes, at
// least MinMemory; default 32 MiB. It is what memory depends on, whatever the size
// of the files: so many bytes of pieces are in memory at most, or one piece where
// that is longer, and so many are asked for, or two pieces of each download. Less
// is slower where members are fast and far away.
func WithMemory(bytes int64) Option { return func(c *config) { c.memory = bytes } }

// WithUploadLimit bounds what this client sends of files, over all transfers, in
// bytes per second: at least 64 KiB, or 0 for no bound. Bursts are 64 KiB at most.
func WithUploadLimit(bytesPerSecond int64) Option {
	return func(c *config) { c.uploadLimit = bytesPerSecond }
}

// WithDownloadLimit is the same for what this client fetches.
func WithDownloadLimit(bytesPerSecond int64) Option {
	return func(c *config) { c.downloadLimit = bytesPerSecond }
}

// WithHost brings a libp2p host of one's own; it stays the caller's to close.
func WithHost(h host.Host) Option { return func(c *config) { c.host = h } }

// WithClock replaces the wall clock, for tests.
func WithClock(now func() time.Time) Option { return func(c *config) { c.now = now } }

// WithStrictTickets ends the grace that this client has with others' tickets
// while it reaches no tracker: each ends at its own time, 15 minutes after it
// was issued at most, and the downloads that this client serves with it.
func WithStrictTickets() Option { return func(c *config) { c.grace = 0 } }

// WithLog gets one line for each thing that the user did and that befell it.
// It is called from several goroutines and must not block.
func WithLog(f func(Event)) Option { return func(c *config) { c.log = f } }

// newConfig applies the options and checks the outcome. Errors: E_CONFIG, and
// E_NOT_FOUND for a TRACKER_INFO that does not exist.
func newConfig(opts []Option) (*config, error) {
	c := &config{listen: "0.0.0.0:0", downloads: ".", workers: max(minWorkers, 2*runtime.NumCPU()), memory: defaultMemory, now: time.Now, grace: protocol.TicketGrace}
	for _, o := range opts {
		o(c)
	}
	switch {
	case c.dir == "":
		return nil, protocol.Errorf(protocol.CodeConfig, "WithDataDir: the data folder is missing")
	case c.workers < 1:
		return nil, protocol.Errorf(protocol.CodeConfig, "WithWorkers: %d is not a number of workers, at least 1 is needed", c.workers)
	case c.memory < MinMemory:
		return nil, protocol.Errorf(protocol.CodeConfig, "WithMemory: %d bytes are too few, at least %d are needed", c.memory, MinMemory)
	case c.uploadLimit != 0 && c.uploadLimit < piece.MinLimit:
		return nil, tooLow("WithUploadLimit", c.uploadLimit)
	case c.downloadLimit != 0 && c.downloadLimit < piece.MinLimit:
		return nil, tooLow("WithDownloadLimit", c.downloadLimit)
	case c.now == nil:
		return nil, protocol.Errorf(protocol.CodeConfig, "WithClock: the clock is nil")
	}
	if c.host == nil {
		addr, id, err := roster.ParseAddr(c.listen)
		if err != nil || id != "" {
			return nil, protocol.Errorf(protocol.CodeConfig, "WithListen: %s is not IP:PORT", protocol.Quote(c.listen))
		}
		c.listenAddr = addr
	}
	return c, c.readTrackers()
}

func tooLow(option string, bytesPerSecond int64) error {
	return protocol.Errorf(protocol.CodeConfig, "%s: %d bytes per second is too low a limit: members take less than %d for a broken connection", option, bytesPerSecond, piece.MinLimit)
}

// budget is how many bytes of pieces may be asked for. Under a limit it is what
// arrives within budgetSpan: more would only be held back at its senders, who
// take a piece that does not move for a sign of a broken connection.
func (c *config) budget() int64 {
	if c.downloadLimit == 0 {
		return c.memory
	}
	return min(c.memory, int64(budgetSpan.Seconds())*c.downloadLimit)
}

// shared is what the downloads of the node share. Each may have two pieces under
// way, and two take piece.MinLimit to meet the deadlines of their senders: under
// a limit there are only so many downloads at once.
func (c *config) shared() *swarm.Shared {
	if c.downloadLimit == 0 {
		return swarm.NewShared(c.budget(), c.workers)
	}
	return swarm.NewQueue(c.budget(), c.workers, int(c.downloadLimit/piece.MinLimit))
}

// limit makes a limit of bytes per second, nil of zero.
func limit(bytesPerSecond int64) *piece.Limit {
	if bytesPerSecond == 0 {
		return nil
	}
	return piece.NewLimit(bytesPerSecond)
}

// readTrackers makes entries of however the trackers were named.
func (c *config) readTrackers() error {
	if c.listFile != "" {
		list, err := roster.Read(c.listFile)
		if err != nil {
			return err
		}
		c.entries = append(c.entries, list...)
	}
	for _, text := range c.addrs {
		addr, id, err := roster.ParseAddr(text)
		if err != nil {
			return err
		}
		c.entries = append(c.entries, roster.Entry{Text: text, Addr: addr, ID: id})
	}
	if len(c.entries) == 0 {
		return protocol.Errorf(protocol.CodeConfig, "no tracker is named: use WithTrackerFile or WithTrackers")
	}
	ids, addrs := map[peer.ID]bool{}, map[string]bool{}
	for i := range c.entries {
		e := &c.entries[i]
		e.Number = i + 1
		if e.ID != "" && ids[e.ID] || addrs[e.Addr.String()] {
			return protocol.Errorf(protocol.CodeConfig, "the tracker %s is named twice", protocol.Quote(e.Text))
		}
		ids[e.ID], addrs[e.Addr.String()] = true, true
	}
	return nil
}
