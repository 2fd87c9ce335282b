package trackers

import (
	"context"
	"errors"
	"time"

	"github.com/p2pshare/p2pshare/protocol"
)

// attempt makes the call at one tracker. answered tells whether err is what
// the tracker said; otherwise it could not be talked to. A tracker that takes
// long is fine as long as it says anything at all; one that has fallen silent
// is given up after 3.5 s at most, errSilent, and by then the other trackers of
// the queue have been asked whether they are there. Of long calls, what may be
// in buffers gets the time that a slow link takes for it.
func (c *Client) attempt(ctx context.Context, t *tracker, q *queue, f call) (answered bool, err error) {
	calling, moving, cancel := f.begin(ctx)
	defer cancel()
	id, _, _, _ := c.known.identity(t)
	rpc := c.rpcOf(t, id)
	done := make(chan error, 1)
	if !c.spawn(func() { done <- f.make(calling, rpc, moving) }) {
		return false, errClosed
	}
	tick := time.NewTicker(doubt)
	defer tick.Stop()
	var there chan error // what the tracker says to the question whether it is there
	for {
		select {
		case err := <-done:
			answered, err = classify(err)
			switch {
			case answered:
				c.known.hear(t, c.cfg.Now())
			case moving.isLate():
				err = context.DeadlineExceeded
			case there != nil: // its connection was given up elsewhere for the same reason
				err = errSilent
			}
			return answered, err
		case <-tick.C:
			slack := moving.slack()
			if quiet := min(c.known.silent(t, c.cfg.Now()), moving.quiet()); there == nil && quiet >= doubt+slack {
				there = c.ask(calling, t, signOfLife+slack)
				c.lookAhead(ctx, q)
			}
		case err := <-there:
			there = nil
			if _, says := errors.AsType[*protocol.Error](err); err == nil || says || calling.Err() != nil {
				continue
			}
			cancel()
			if err := <-done; err == nil {
				return true, nil // it came at the last moment
			}
			return false, errSilent
		}
	}
}

// ask has a tracker say hello; the channel gets what comes of it.
func (c *Client) ask(ctx context.Context, t *tracker, limit time.Duration) chan error {
	answer := make(chan error, 1)
	if !c.spawn(func() {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		answer <- c.prepare(ctx, t, false)
	}) {
		answer <- errClosed
	}
	return answer
}

// lookAhead asks the trackers whose turn may come soon.
func (c *Client) lookAhead(ctx context.Context, q *queue) {
	if q.early == nil {
		q.early = map[*tracker]chan error{}
	}
	for _, t := range q.todo {
		if id, _, _, _ := c.known.identity(t); id != "" && q.early[t] == nil {
			q.early[t] = c.ask(ctx, t, dialBudget)
		}
	}
}

// prepared is prepare, or what has come of it ahead of time.
func (c *Client) prepared(ctx context.Context, t *tracker, early chan error, ask bool) error {
	if early == nil {
		return c.prepare(ctx, t, ask)
	}
	select {
	case err := <-early:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
