package replica

import (
	"context"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
	"github.com/p2pshare/p2pshare/tracker/internal/catalog"
	"github.com/p2pshare/p2pshare/tracker/internal/store"
)

const (
	// groupJobs bounds how many changes share one commit, so that none waits
	// long for the others; a commit of so many still takes one sync of the disk.
	groupJobs = 64
	// writeQueue is how many changes may wait for the writer; more wait outside.
	writeQueue = 256
	// hintQueue is how many gossip messages may wait; more are dropped, and
	// what they told comes by exchange.
	hintQueue = 256
	// healEvery is the pace of tries to store again after a failed commit.
	healEvery = time.Second
)

// writer is the one goroutine that changes catalog and store. What waits for it
// when it comes back from the disk goes into the next commit together.
type writer struct {
	r     *Replica
	jobs  chan *job // senders wait
	hints chan *job // senders drop
	gone  chan struct{}
	// full is set while the store takes nothing: the catalog is then what the
	// store holds, and changes are refused.
	full atomic.Bool
	// stale is set while the catalog has what could not be stored. Only the
	// writer looks at it.
	stale bool
	// doubtful is what the commit that failed was to store. Part of it may be on
	// disk all the same. Only the writer looks at it.
	doubtful []doubt
	// dropped are expired facts that the catalog let go when it was read and
	// the store still has. Whoever runs a job owns it.
	dropped []catalog.Key
}

// job is one change. apply runs under the write lock; an error of it must come
// before its first merge.
type job struct {
	apply func(*txn) error
	err   error
	done  chan error // nobody may wait for it
}

// txn is what the jobs of one commit change together.
type txn struct {
	cat     *catalog.Catalog
	wall    int64
	batch   store.Batch
	changed []catalog.Key // in order; a key changed twice stands there twice
	last    map[catalog.Key]change
	network protocol.NetworkID // that this tracker is part of once this is stored; zero: as before
	// outdated came of other trackers unasked, and may be replayed.
	outdated []outdated
}

// change is where in txn.changed the last change of a key is, and whose it was.
type change struct {
	at  int
	own bool
}

// doubt is a fact that may be on disk or not.
type doubt struct {
	key   catalog.Key
	stamp protocol.Stamp
	own   bool
}

func newWriter(r *Replica) *writer {
	return &writer{
		r: r, jobs: make(chan *job, writeQueue), hints: make(chan *job, hintQueue), gone: make(chan struct{}),
	}
}

// change has apply run in the next commit and waits until it is on disk.
func (r *Replica) change(ctx context.Context, apply func(*txn) error) error {
	j := &job{apply: apply, done: make(chan error, 1)}
	select {
	case r.writer.jobs <- j:
	case <-r.ctx.Done():
		return errClosing()
	case <-ctx.Done():
		if r.ctx.Err() != nil {
			return errClosing()
		}
		return ctx.Err()
	}
	select {
	case err := <-j.done:
		return err
	case <-r.writer.gone:
	}
	select {
	case err := <-j.done:
		return err
	default:
		return errClosing()
	}
}

// hint is change without waiting; false if the queue is full.
func (r *Replica) hint(apply func(*txn) error) bool {
	select {
	case r.writer.hints <- &job{apply: apply, done: make(chan error, 1)}:
		return true
	default:
		return false
	}
}

func errClosing() error {
	return protocol.Errorf(protocol.CodeBusy, "this tracker is stopping; use another one")
}

func errFull() error {
	return protocol.Errorf(protocol.CodeTrackerFull, "this tracker cannot store changes now (disk); reading still works")
}

func (w *writer) run() {
	defer close(w.gone)
	heal := time.NewTicker(healEvery)
	defer heal.Stop()
	for {
		var first *job
		select {
		case <-w.r.ctx.Done():
			return
		case <-heal.C:
			w.heal()
			continue
		case first = <-w.jobs:
		case first = <-w.hints:
		}
		w.commit(w.gather(first))
	}
}

func (w *writer) gather(first *job) []*job {
	jobs := []*job{first}
	for len(jobs) < groupJobs {
		select {
		case j := <-w.jobs:
			jobs = append(jobs, j)
		case j := <-w.hints:
			jobs = append(jobs, j)
		default:
			return jobs
		}
	}
	return jobs
}

func (w *writer) commit(jobs []*job) {
	if w.full.Load() {
		finish(jobs, errFull())
		return
	}
	t := w.apply(jobs)
	w.r.refuseOutdated(t)
	if !t.batch.Empty() {
		err := w.r.cfg.Store.Commit(t.batch)
		if err != nil {
			log.Errorw("store refused a change; reading goes on", "err", err)
			w.full.Store(true)
			w.doubt(t)
			w.heal()
			w.ended() // reading goes on, whatever the disk
			finish(jobs, errFull())
			return
		}
		if !t.network.IsZero() {
			w.r.setNetwork(t.network) // before the next change looks at it
		}
		w.settle(t)
	}
	finish(jobs, nil)
}

// apply runs the jobs under the write lock and collects what to store.
func (w *writer) apply(jobs []*job) *txn {
	s := &w.r.state
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &txn{cat: s.cat, wall: w.r.wall(), last: map[catalog.Key]change{}}
	for _, j := range jobs {
		j.err = j.run(t)
	}
	for k := range t.last {
		if f, ok := t.cat.Get(k); ok {
			t.batch.Put = append(t.batch.Put, toRecord(f))
		}
	}
	s.pending = t.last
	if t.batch.Empty() {
		s.root = s.cat.Root().Digest // what has expired left the digests
	} else {
		s.commit = make(chan struct{})
	}
	return t
}

// run is apply behind a barrier: a fault in one change must not end the tracker.
// What it had merged by then are facts like others.
func (j *job) run(t *txn) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Errorw("panic in a change", "cause", p, "stack", string(debug.Stack()))
			err = protocol.Errorf(protocol.CodeInternal, "the tracker has met a fault of its own in this change")
		}
	}()
	return j.apply(t)
}

// settle makes known what is on disk now.
func (w *writer) settle(t *txn) {
	s := &w.r.state
	s.mu.Lock()
	s.pending, s.root = nil, s.cat.Root().Digest
	s.ended()
	facts, own := t.result(s.cat)
	s.mu.Unlock()
	w.tell(facts, own)
}

// result returns the facts that the transaction left in the catalog, and those of
// them that were made here. The lock of the catalog is held.
func (t *txn) result(c *catalog.Catalog) (facts, own []catalog.Fact) {
	for i, k := range t.changed {
		if t.last[k].at != i {
			continue
		}
		if f, ok := c.Get(k); ok {
			facts = append(facts, f)
			if t.last[k].own {
				own = append(own, f)
			}
		}
	}
	return facts, own
}

// tell spreads facts that are on disk now.
func (w *writer) tell(facts, own []catalog.Fact) {
	wall := w.r.wall()
	for _, f := range facts {
		w.r.clock.observe(wall, f.Stamp)
	}
	w.r.gossip.spread(own)
	w.r.awaited.arrived(facts)
	w.r.noteBlobs(facts)
	if len(facts) > 0 && w.r.cfg.OnChange != nil {
		w.r.cfg.OnChange(facts)
	}
}

func (w *writer) ended() {
	s := &w.r.state
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended()
}

// doubt notes what a commit that failed was to store.
func (w *writer) doubt(t *txn) {
	w.stale = true
	s := &w.r.state
	s.mu.RLock()
	defer s.mu.RUnlock()
	facts, _ := t.result(s.cat)
	w.doubtful = w.doubtful[:0]
	for _, f := range facts {
		w.doubtful = append(w.doubtful, doubt{f.Key, f.Stamp, t.last[f.Key].own})
	}
}

// resolve tells of those doubtful facts that turned out to be on disk: whoever
// made them was told of a failure, but they count, here and after a restart.
func (w *writer) resolve() {
	var facts, own []catalog.Fact
	w.r.View(func(c *catalog.Catalog) {
		for _, d := range w.doubtful {
			f, ok := c.Get(d.key)
			if !ok || f.Stamp != d.stamp {
				continue
			}
			facts = append(facts, f)
			if d.own {
				own = append(own, f)
			}
		}
	})
	w.doubtful = nil
	w.tell(facts, own)
}

// heal makes the catalog what the store holds after a failed commit, and opens
// the store for changes again once it takes a value.
func (w *writer) heal() {
	if !w.full.Load() {
		return
	}
	if w.stale {
		cat, err := w.r.readCatalog()
		if err != nil {
			log.Errorw("read the catalog again after a failed commit", "err", err)
			return
		}
		s := &w.r.state
		s.mu.Lock()
		s.cat, s.pending, s.root = cat, nil, cat.Root().Digest
		s.undone++
		s.ended()
		s.mu.Unlock()
		w.stale = false
		w.resolve()
		return // the store has its next chance at the next tick
	}
	probe := store.Batch{Meta: map[string][]byte{metaProbe: []byte(time.Now().UTC().Format(time.RFC3339Nano))}}
	if err := w.r.cfg.Store.Commit(probe); err != nil {
		log.Infow("store still takes no changes", "err", err)
		return
	}
	w.full.Store(false)
	log.Warnw("store takes changes again")
}

func finish(jobs []*job, err error) {
	for _, j := range jobs {
		if j.err == nil {
			j.err = err
		}
		j.done <- j.err
	}
}

// merge joins a fact in. own facts are spread to the others by gossip.
func (t *txn) merge(f catalog.Fact, own bool) error {
	changed, err := t.cat.Merge(f)
	if !changed || err != nil {
		return err
	}
	t.last[f.Key] = change{at: len(t.changed), own: own}
	t.changed = append(t.changed, f.Key)
	return nil
}

func (t *txn) putBlobs(blobs map[protocol.FileID][]byte) {
	for id, b := range blobs {
		if t.batch.Blobs == nil {
			t.batch.Blobs = map[protocol.FileID][]byte{}
		}
		t.batch.Blobs[id] = b
	}
}

// adopt names the network in the same commit.
func (t *txn) adopt(id protocol.NetworkID) {
	t.network = id
	t.putMeta(metaNetwork, id[:])
}

func (t *txn) putMeta(name string, v []byte) {
	if t.batch.Meta == nil {
		t.batch.Meta = map[string][]byte{}
	}
	t.batch.Meta[name] = v
}
