package swarm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/p2pshare/p2pshare/node/internal/piece"
	"github.com/p2pshare/p2pshare/node/internal/scheduler"
	"github.com/p2pshare/p2pshare/protocol"
)

const (
	// tickEvery is how often the scheduler is told the time: it decides how
	// late a late peer is noticed.
	tickEvery = 250 * time.Millisecond
	// inboxSize is how many messages wait for the loop. A link that finds it
	// full waits, and reads nothing meanwhile.
	inboxSize = 128
	// batch is how many messages are handled before anything else is looked at.
	batch = 64
	// publishEvery bounds how often progress is told while nothing but numbers change.
	publishEvery = 100 * time.Millisecond
)

// loop is the state of a running download. It belongs to the goroutine of Run;
// others reach it through its inbox.
type loop struct {
	cfg      Config
	swarm    *Swarm
	manifest *protocol.Manifest
	sched    *scheduler.Scheduler
	stake    *stake
	budget   int64 // as the scheduler knows it
	queued   bool  // other downloads have all of a limited rate
	roster   *roster
	disk     disk
	meter    *meter
	start    time.Time

	inbox chan message
	done  chan struct{} // closed when the inbox is not read any more
	// owed counts messages that will still come: one of each dial and write
	// under way, and the Closed of each open link.
	owed int
	// arrived is the buffer of the PieceReceived that a step is about.
	arrived *piece.Buffer

	published time.Time
	dirty     bool
	over      bool
	err       error
}

// message is what other goroutines tell the loop.
type message interface {
	// apply handles it while the download runs.
	apply(ctx context.Context, l *loop)
	// discard handles it after that: it gives back what the message holds and
	// returns how many messages are owed less.
	discard() (settled int)
}

func newLoop(s *Swarm) *loop {
	now := time.Now()
	m := s.cfg.File.Manifest()
	complete, have := s.cfg.File.Have()
	l := &loop{
		cfg: s.cfg, swarm: s, manifest: m,
		stake:  s.cfg.Shared.join(2 * m.PieceLength),
		disk:   newDisk(m.PieceLength),
		roster: newRoster(rand.New(rand.NewPCG(s.cfg.Seed, 0x6261636b6f6666))),
		meter:  newMeter(s.cfg.File, now),
		start:  now,
		inbox:  make(chan message, inboxSize),
		done:   make(chan struct{}),
	}
	l.budget = l.stake.claim()
	l.sched = scheduler.New(scheduler.Config{
		Size: m.Size, PieceLength: m.PieceLength,
		Complete: complete, Have: have,
		Budget: l.budget, Rate: s.cfg.Rate, Seed: s.cfg.Seed,
		Offences: l.offences(now),
	})
	return l
}

// offences tells the scheduler of earlier bans, and the roster whom not to dial.
func (l *loop) offences(now time.Time) (list []scheduler.Offence) {
	for _, b := range l.cfg.Bans {
		l.roster.past[b.Peer] = b.Until
		list = append(list, scheduler.Offence{
			Peer: scheduler.Peer(b.Peer), Bad: b.Bad, Ago: max(0, now.Sub(b.Last)), For: b.Until.Sub(now),
		})
	}
	return list
}

// run is everything that can happen to a download.
func (l *loop) run(ctx context.Context) error {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	l.step(ctx, scheduler.Tick{})
	for !l.over {
		l.afterwards(ctx)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case m := <-l.inbox:
			l.claim(ctx)
			l.apply(ctx, m)
		case <-l.swarm.mail.wake:
			l.claim(ctx)
			l.readMail()
		case <-l.stake.wake:
			l.claim(ctx)
		case now := <-ticker.C:
			l.claim(ctx)
			l.tick(ctx, now)
		}
	}
	return l.err
}

// apply handles a message and those that wait behind it, a batch at most. What
// is taken from the inbox is applied: a lost message would be owed for ever.
func (l *loop) apply(ctx context.Context, m message) {
	m.apply(ctx, l)
	for range batch - 1 {
		if l.over {
			return
		}
		select {
		case m = <-l.inbox:
			m.apply(ctx, l)
		default:
			return
		}
	}
}

// claim takes hold of the budget before a step.
func (l *loop) claim(ctx context.Context) {
	if budget := l.stake.claim(); budget != l.budget {
		l.budget = budget
		l.step(ctx, scheduler.Budget{Bytes: budget})
	}
}

// afterwards does what follows from a change, and then lets go of the budget.
func (l *loop) afterwards(ctx context.Context) {
	now := time.Now()
	if l.roster.changed {
		l.roster.changed = false
		l.dialMore(ctx, now)
		l.countCandidates(ctx, now)
	}
	used, hungry := l.sched.InFlight(), l.sched.IsHungry()
	if l.sched.IsStalled() || l.disk.isFaulty() {
		used, hungry = 0, false // others may have what these peers do not send, or this disk not take
	}
	l.queued = l.stake.settle(used, hungry)
	l.publishIfDue(now)
}

func (l *loop) tick(ctx context.Context, now time.Time) {
	l.step(ctx, scheduler.Tick{})
	l.watchDisk(ctx, now)
	l.retryWrite(ctx, now)
	l.makeRoom(ctx, now)
	l.roster.changed = true // back-offs and bans run out
	l.dirty = l.dirty || l.swarm.progress.Load().Rate > 0
}

// step tells the scheduler what happened and does what it decides.
func (l *loop) step(ctx context.Context, ev scheduler.Event) {
	for _, e := range l.sched.Step(time.Since(l.start), ev) {
		l.carryOut(ctx, e)
	}
}

// post hands a message to the loop. It waits while the inbox is full.
func (l *loop) post(m message) {
	select {
	case l.inbox <- m:
	case <-l.done:
		m.discard()
	}
}

// readMail takes in what the node said.
func (l *loop) readMail() {
	notices, ticket := l.swarm.mail.read()
	for _, n := range notices {
		if n.offered {
			l.roster.offer(n.peer, n.again)
		} else {
			l.roster.withdraw(n.peer.ID)
		}
	}
	if ticket != nil {
		l.roster.renewed(ticket)
	}
}

// drain closes everything and waits for it.
func (l *loop) drain() {
	l.stake.leave()
	l.roster.joined = 0
	for _, e := range l.roster.order {
		if e.session != nil && e.session.link != nil {
			e.session.link.Close()
		}
	}
	l.disk.drop()
	for l.owed > 0 {
		l.owed -= (<-l.inbox).discard()
	}
	close(l.done)
	for {
		select {
		case m := <-l.inbox:
			m.discard()
		default:
			return
		}
	}
}

// publishIfDue tells of changes, those of the reason to wait at once.
func (l *loop) publishIfDue(now time.Time) {
	reason, text := l.waiting(now)
	last := l.swarm.progress.Load()
	if reason != last.Reason || text != last.Message || l.dirty && now.Sub(l.published) >= publishEvery {
		l.publish(now)
	}
}

func (l *loop) publish(now time.Time) {
	p := l.meter.snapshot(now)
	p.Wasted = l.sched.Wasted()
	p.Peers = l.roster.joined
	p.Reason, p.Message = l.waiting(now)
	l.published, l.dirty = now, false
	l.swarm.progress.Store(p)
	l.cfg.OnProgress(*p)
}

// waiting tells why nothing is fetched.
func (l *loop) waiting(now time.Time) (Reason, string) {
	code, text := l.sched.Waiting()
	if code == "" && l.queued {
		return protocol.CodeBusy, "other downloads have all of the download limit; this one goes on when one of them is through or waits, progress is kept"
	}
	if code != protocol.CodeNoSeeders {
		return code, text
	}
	hope, obstacle := l.roster.outlook(now)
	switch {
	case hope:
		return "", ""
	case obstacle == protocol.CodeBusy:
		return obstacle, "those who have the file serve as many downloads of this client as they do at once; this one goes on when another is through, progress is kept"
	case obstacle == protocol.CodeNoTracker:
		return obstacle, "no tracker is reachable to introduce this client to those who have the file; progress is kept"
	case obstacle != "":
		return obstacle, "those who have the file do not accept this client as a member of the group; waiting for a new ticket, progress is kept"
	}
	if n, why := l.roster.unreached(now); n > 0 && l.roster.joined == 0 {
		if why != "" {
			why = " (" + why + ")"
		}
		return code, fmt.Sprintf("none of those who have this file can be reached from here: %d tried%s; progress is kept", n, why)
	}
	return code, text
}
