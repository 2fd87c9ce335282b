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
	// hungAfter is how long a commit may take before the disk counts as one that
	// does not answer: longer than any that is busy, shorter than clients wait.
	hungAfter = 5 * time.Second
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
	disk diskNote
	// since is when the commit that is under way began; nil while there is none.
	since atomic.Pointer[time.Time]
	// stale is set while the catalog has what could not be stored. Only the
	// writer looks at it.
	stale bool
	// stuck is set while the store does not even take the smallest value. Only the
	// writer looks at it.
	stuck bool
	// doubtful is what the commit that failed was to store. Part of it may be on
	// disk all the same. Only the writer looks at it.
	doubtful []doubt
}

// job is one change. apply runs under the write lock; an error of it must come
// before its first merge.
type job struct {
	ctx   context.Context //nolint:containedctx // whose end ends a job that has not begun
	apply func(*txn) error
	err   error
	done  chan error // nobody may wait for it
}

func newWriter(r *Replica) *writer {
	return &writer{
		r: r, jobs: make(chan *job, writeQueue), hints: make(chan *job, hintQueue), gone: make(chan struct{}),
	}
}

// change has apply run in the next commit and waits until it is on disk. If ctx has
// ended before that commit begins it does not run: whoever wanted the change may
// have made it elsewhere by now, and something else behind it.
func (r *Replica) change(ctx context.Context, apply func(*txn) error) error {
	j := &job{ctx: ctx, apply: apply, done: make(chan error, 1)}
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
	case r.writer.hints <- &job{ctx: r.ctx, apply: apply, done: make(chan error, 1)}:
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
	if w.r.Err() != nil {
		finish(jobs, errClosing())
		return
	}
	if w.full.Load() {
		finish(jobs, errFull())
		return
	}
	if err := w.setBack(); err != nil {
		log.Errorw("read the catalog again after the clock was set back", "err", err)
		finish(jobs, errFull())
		return
	}
	t := w.apply(jobs)
	w.r.refuseOutdated(t)
	if !t.batch.Empty() {
		err := w.store(t.batch)
		if err != nil {
			log.Errorw("store refused a change; reading goes on", "err", err)
			w.disk.refused(err, time.Now())
			w.full.Store(true)
			w.doubt(t)
			w.heal()
			refusal := errFull()
			if w.r.Err() != nil {
				refusal = errClosing() // as those hear who wait for the commit
			} else {
				w.ended() // reading goes on, whatever the disk
			}
			for _, j := range jobs {
				j.err = nil // it may be about what another one of them has not written
			}
			finish(jobs, refusal)
			return
		}
		if !t.network.IsZero() {
			w.r.setNetwork(t.network) // before the next change looks at it
		}
		w.settle(t)
	}
	finish(jobs, nil)
}

func (w *writer) store(b store.Batch) error {
	now := time.Now()
	w.since.Store(&now)
	defer w.since.Store(nil)
	return w.r.cfg.Store.Commit(b)
}

// hangs reports whether a commit has been under way for so long that nobody
// should wait for it.
func (w *writer) hangs() bool {
	since := w.since.Load()
	return since != nil && time.Since(*since) >= hungAfter
}

func errHangs() error { return busy("this tracker's disk does not answer") }

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
	if err := j.ctx.Err(); err != nil {
		return err
	}
	return j.apply(t)
}

// settle makes known what is on disk now.
func (w *writer) settle(t *txn) {
	s := &w.r.state
	s.mu.RLock()
	facts, own := t.result(s.cat)
	s.mu.RUnlock()
	w.r.noteBlobs(facts) // before the root shows that these facts are here
	s.mu.Lock()
	s.pending, s.root = nil, s.cat.Root().Digest
	s.ended()
	s.mu.Unlock()
	w.tell(facts, own)
}

// tell spreads facts that are on disk now.
func (w *writer) tell(facts, own []catalog.Fact) {
	wall := w.r.wall()
	for _, f := range facts {
		w.r.clock.observe(wall, f.Stamp)
	}
	w.r.gossip.spread(own)
	w.r.awaited.arrived(facts)
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

func finish(jobs []*job, err error) {
	for _, j := range jobs {
		if j.err == nil {
			j.err = err
		}
		j.done <- j.err
	}
}
