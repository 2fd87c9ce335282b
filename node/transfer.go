package node

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pshare/p2pshare/node/internal/filestore"
	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/node/internal/records"
	"github.com/p2pshare/p2pshare/node/internal/swarm"
	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/protocol/dial"
)

const (
	// registerWait is how long a finished download waits for a tracker to know
	// the new share; after that it is told when one is there.
	registerWait = 3 * time.Second
	// banMemory is how long a bad piece counts against the peer that sent it.
	banMemory = 24 * time.Hour
)

// tally sums up what swarms of one download fetched.
type tally struct {
	wasted int64
	peers  []PeerShare
}

func (t tally) add(p swarm.Progress) tally {
	t.wasted += p.Wasted
	t.peers = slices.Clone(t.peers)
	for _, q := range p.ByPeer {
		id := q.Peer.String()
		i := slices.IndexFunc(t.peers, func(s PeerShare) bool { return s.Peer == id })
		if i < 0 {
			i = len(t.peers)
			t.peers = append(t.peers, PeerShare{Peer: id, User: protocol.Printable(q.User)})
		}
		t.peers[i].Pieces += q.Pieces
	}
	return t
}

// run is the transfer, and after it the check of what it left on disk.
func (d *Download) run() {
	d.fetchAll()
	close(d.ended)
	d.check()
}

// fetchAll is the transfer: until the file is whole, the login ends, the user
// cancels it, or it fails.
func (d *Download) fetchAll() {
	began := time.Now()
	err := d.ready()
	for err == nil {
		if err = d.stretch(); err == nil {
			d.over(nil, time.Since(began))
			return
		}
		if errors.Is(err, errPaused) {
			err = d.ready()
		}
	}
	d.over(accuse(err, d.record().Uploader), time.Since(began))
}

// stretch runs the transfer until it ends or the user pauses it.
func (d *Download) stretch() error {
	ctx, stop := context.WithCancelCause(d.account.ctx)
	defer stop(nil)
	d.begin(stop)
	err := d.transfer(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err != nil && d.account.ctx.Err() == nil {
		d.account.node.trackers.Withdraw(d.key.group, d.key.file)
		d.account.closeStreams(d.key)
	}
	d.change(func() { d.stop = nil })
	return err
}

// over tells how the download ended.
func (d *Download) over(err error, took time.Duration) {
	a, n := d.account, d.account.node
	switch {
	case err == nil:
		d.change(func() {
			total := d.before
			d.result = d.resultOf(d.rec)
			d.result.Took, d.result.Wasted, d.result.Peers = took, total.wasted, total.peers
		})
	case a.ctx.Err() != nil && errors.Is(err, context.Cause(a.ctx)):
		d.change(func() { d.err = err }) // stays as it is in the records
		return
	case errors.Is(err, errCancelled):
		d.change(func() { d.err = err })
		if err := d.forget(); err != nil {
			log.Errorw("cannot forget a cancelled download", "file", d.key.file, "err", err)
		}
		return
	default:
		d.change(func() {
			d.err = err
			d.rec.State, d.rec.Code, d.rec.Reason = recFailed, protocol.CodeOf(err), err.Error()
		})
		if err := d.save(); err != nil {
			log.Errorw("cannot record that a download failed", "file", d.key.file, "err", err)
		}
	}
	text := "complete"
	if err != nil {
		text = err.Error()
	}
	p := d.Progress()
	n.tell(Event{Kind: "download", Group: p.Group, File: p.Name, Text: p.Name + ": " + text})
}

// revoke ends the download because the user is no member of the group any more.
func (d *Download) revoke(why error) {
	var stop context.CancelCauseFunc
	d.change(func() { d.revoked, stop = why, d.stop })
	if stop != nil {
		stop(why)
	}
}

// transfer fetches the file, puts it in its place and makes it a share, and
// waits for what may pass.
func (d *Download) transfer(ctx context.Context) error {
	var patience patience
	for faults := 0; ; {
		err := d.attempt(ctx)
		p, ok := errors.AsType[*passingError](err)
		if !ok {
			return err
		}
		if p.counts {
			if faults++; faults > maxLosses {
				return p.error
			}
		}
		d.account.node.trackers.Withdraw(d.key.group, d.key.file)
		d.account.closeStreams(d.key)
		if err := d.pauseFor(ctx, p.error, patience.next(p.fetched, d.onDisk())); err != nil {
			return err
		}
	}
}

// attempt is transfer without waiting. Errors that may pass are passingErrors.
func (d *Download) attempt(ctx context.Context) error {
	n := d.account.node
	part, err := d.open(ctx)
	if err != nil {
		return err
	}
	// Streams that serve it must not be left between the part and the share.
	defer func() {
		d.change(func() { d.part = nil })
		if err := part.Close(); err != nil {
			log.Errorw("cannot close a partial file", "file", d.key.file, "err", err)
		}
	}()
	d.change(func() { d.part = part })
	n.trackers.Offer(d.key.group, d.key.file, false)
	path, stamp, err := d.fill(ctx, part, func() error { return d.fetch(ctx, part) })
	if err != nil {
		return err
	}
	return d.complete(ctx, path, stamp, part.Manifest())
}

// open opens the partial file. A file that was finished and found spoiled
// becomes a partial one again first.
func (d *Download) open(ctx context.Context) (*filestore.Partial, error) {
	n, r := d.account.node, d.record()
	defer d.change(func() { d.prepares = preparation{} })
	d.change(func() {
		d.prepares = preparation{what: "fetching the description of the file from a tracker", since: time.Now()}
	})
	m, err := d.account.manifest(ctx, d.key)
	if err != nil {
		return nil, unasked(err)
	}
	if err := d.takeBack(); err != nil {
		return nil, d.local(err)
	}
	d.change(func() {
		d.prepares = preparation{what: "looking at what is on disk", since: time.Now()}
	})
	var found int64 // under the lock of change
	part, err := filestore.OpenPartialTelling(ctx, r.Target, m, n.records.Journal(r.User, r.Group, r.File), func(bytes int64) {
		d.change(func() {
			found += bytes
			d.latest.Done = max(d.latest.Done, found)
		})
	})
	if err != nil {
		return nil, d.local(err)
	}
	d.change(func() { d.begun = true })
	return part, nil
}

// fetch runs a swarm until the file has all pieces. If the disk loses some that
// the swarm has seen verified, errLost: another swarm begins with what is there.
func (d *Download) fetch(ctx context.Context, part *filestore.Partial) error {
	return untilLost(ctx, part.Lost(), func(ctx context.Context) error { return d.runSwarm(ctx, part) })
}

func (d *Download) runSwarm(ctx context.Context, part *filestore.Partial) error {
	a := d.account
	s := swarm.New(swarm.Config{
		File: part, Shared: a.node.swarms,
		Dial: func(ctx context.Context, p swarm.Peer, sink func(piece.Event)) (swarm.Link, error) {
			return d.dial(ctx, part.Manifest(), p.ID, sink)
		},
		FindPeers: d.findPeers,
		OnProgress: func(p swarm.Progress) {
			d.change(func() { d.latest = p })
		},
		Bans: d.pastBans(), OnBan: d.banned,
		Rate: a.node.cfg.downloadLimit,
		Seed: rand.Uint64(),
	})
	for _, p := range d.remembered() {
		s.AddPeer(p)
	}
	d.change(func() { d.swarm = s })
	feeding, stop := context.WithCancel(ctx)
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		d.feed(feeding, s)
	}()
	d.findPeers()
	err := s.Run(ctx)
	stop()
	<-fed
	d.change(func() {
		d.latest = s.Progress()
		d.before = d.before.add(d.latest)
		d.swarm = nil
	})
	return err
}

// pastBans are the peers that sent bad pieces of the file before.
func (d *Download) pastBans() (bans []swarm.Ban) {
	list, err := d.account.node.records.Bans(d.key.file)
	if err != nil {
		log.Errorw("cannot read who sent bad pieces", "file", d.key.file, "err", err)
	}
	for _, b := range list {
		bans = append(bans, swarm.Ban(b))
	}
	return bans
}

// banned remembers a peer that sent a bad piece.
func (d *Download) banned(b swarm.Ban) {
	n := d.account.node
	log.Infow("a peer sent a bad piece", "file", d.key.file, "peer", b.Peer, "count", b.Bad)
	d.account.spawn(func() {
		if err := n.records.PutBan(d.key.file, records.Ban(b), time.Now().Add(-banMemory)); err != nil {
			log.Errorw("cannot remember who sent a bad piece", "file", d.key.file, "peer", b.Peer, "err", err)
		}
	})
}

// dialOptions gives a member behind a firewall that swallows TCP time for QUIC.
func dialOptions() dial.Options {
	return dial.Options{TCP: 4 * time.Second, Other: 8 * time.Second, Keep: addrTTL}
}

// dial opens a stream to a member that offers the file.
func (d *Download) dial(ctx context.Context, m *protocol.Manifest, id peer.ID, sink func(piece.Event)) (swarm.Link, error) {
	h := d.account.node.host
	if err := dial.Connect(ctx, h, id, h.Peerstore().Addrs(id), dialOptions()); err != nil {
		return nil, err
	}
	ticket, err := d.account.ticket(ctx, d.key.group)
	if err != nil {
		return nil, err
	}
	conn, err := piece.Open(ctx, piece.OpenConfig{
		Host: h, Peer: id, Manifest: m, File: d.key.file, Ticket: ticket.envelope, Sink: sink,
		Buffers: d.account.node.buffers, Limit: d.account.node.incoming,
	})
	if err != nil {
		return nil, err // not conn: a nil *Conn in a Link is not nil
	}
	return conn, nil
}

// complete makes the finished file a share of the user and records both.
func (d *Download) complete(ctx context.Context, path string, stamp filestore.Stamp, m *protocol.Manifest) error {
	a, n, r := d.account, d.account.node, d.record()
	rec := records.Share{
		User: r.User, Group: r.Group, GroupNm: r.GroupNm, File: r.File, Name: r.Name, Path: path,
		Stamp: stamp, SHA1: m.SHA1, Size: m.Size, Since: n.cfg.now(),
	}
	var s *share
	err := d.insist(ctx, func() (err error) {
		s, err = a.putShare(rec)
		return err
	})
	if err != nil {
		return err
	}
	registering, cancel := context.WithTimeout(ctx, registerWait)
	defer cancel()
	if err := a.registerShare(registering, s); err != nil {
		log.Infow("the tracker will know the new share later", "file", d.key.file, "err", err)
	}
	n.trackers.Offer(d.key.group, d.key.file, true)
	if err := n.trackers.Settle(registering); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		log.Infow("the new share is not announced yet", "file", d.key.file, "err", err)
	}
	d.change(func() { d.rec.State, d.rec.Path, d.rec.Unchecked = recComplete, path, stamp })
	return d.insist(ctx, d.save)
}
