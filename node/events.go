package node

import (
	"context"
	"iter"
	"sync"
	"time"
)

// watchQueue is how many events a slow reader of Watch may fall behind.
const watchQueue = 256

// Event is something that befell this client, for a person to read.
type Event struct {
	Time time.Time
	// Kind is join_request, accepted, refused, removed, owner, new_file,
	// renamed, tracker_lost, tracker, stored_on_one, download, share_withdrawn,
	// logged_out or clock. What the user did has the name of the command.
	Kind  string
	Group string
	User  string
	File  string
	Text  string
}

// Watch yields events from now on until the context ends. A reader that falls
// 256 events behind loses the oldest. It is read by one goroutine, once.
func (n *Node) Watch(ctx context.Context) iter.Seq[Event] {
	w := &watcher{wake: make(chan struct{}, 1)}
	n.events.add(w)
	context.AfterFunc(ctx, func() { n.events.remove(w) })
	return func(yield func(Event) bool) {
		defer n.events.remove(w)
		for {
			for e, ok := w.next(); ok; e, ok = w.next() {
				if !yield(e) {
					return
				}
			}
			select {
			case <-w.wake:
			case <-ctx.Done():
				return
			case <-n.ctx.Done():
				return
			}
		}
	}
}

// bus hands events to the watchers.
type bus struct {
	mu       sync.Mutex
	watchers map[*watcher]struct{}
}

func (b *bus) add(w *watcher) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watchers == nil {
		b.watchers = map[*watcher]struct{}{}
	}
	b.watchers[w] = struct{}{}
}

func (b *bus) remove(w *watcher) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.watchers, w)
}

func (b *bus) send(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for w := range b.watchers {
		w.put(e)
	}
}

// watcher is one reader of Watch.
type watcher struct {
	wake chan struct{}

	mu    sync.Mutex
	queue []Event
}

func (w *watcher) put(e Event) {
	w.mu.Lock()
	if len(w.queue) == watchQueue {
		w.queue = w.queue[1:]
	}
	w.queue = append(w.queue, e)
	w.mu.Unlock()
	nudge(w.wake)
}

func (w *watcher) next() (Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		w.queue = nil
		return Event{}, false
	}
	e := w.queue[0]
	w.queue = w.queue[1:]
	return e, true
}

// nudge wakes the reader of a channel of capacity one.
func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// tell is for what befell the client: the log has it, and watchers.
func (n *Node) tell(e Event) {
	e.Time = n.cfg.now()
	n.events.send(e)
	if n.cfg.log != nil {
		n.cfg.log(e)
	}
}

// did is for what the user did: the log has it.
func (n *Node) did(e Event) {
	e.Time = n.cfg.now()
	if n.cfg.log != nil {
		n.cfg.log(e)
	}
}
