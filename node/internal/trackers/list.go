package trackers

import (
	"context"
	"slices"
	"sync"
)

// Info is a tracker of the network and how it is with it.
type Info struct {
	Number  int // in the list, from 1; learned ones follow
	Address string
	Holds   bool  // the push stream is open there
	Err     error // why it cannot be used, nil if it can
}

// Known returns how many trackers this client knows, reachable or not.
func (c *Client) Known() int { return len(c.known.all()) }

// Introduce says hello to the listed trackers whose ids are not known yet, one
// after another, asking Confirm about each that no tracker confirmed before
// names. It returns when all were tried or the context ends.
func (c *Client) Introduce(ctx context.Context) {
	for _, t := range c.known.candidates(nil, c.cfg.Now()) {
		if id, _, _, _ := c.known.identity(t); id != "" || ctx.Err() != nil {
			continue
		}
		if err := c.prepare(ctx, t, true); err != nil {
			log.Infow("tracker not confirmed", "tracker", t.address, "err", err)
		}
	}
}

// List asks all known trackers whether they are there, at the same time. It
// never asks the user anything.
func (c *Client) List(ctx context.Context) []Info {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	all, holder := c.known.all(), c.holder()
	infos := make([]Info, len(all))
	var wg sync.WaitGroup
	for i, t := range all {
		infos[i] = Info{Number: i + 1, Address: t.address, Holds: t == holder}
		if infos[i].Holds {
			continue
		}
		wg.Go(func() { infos[i].Err = c.prepare(ctx, t, false) })
	}
	wg.Wait()
	// One that a line without an id turned out to be is no further tracker.
	left := c.known.all()
	infos = slices.DeleteFunc(infos, func(i Info) bool { return !slices.Contains(left, all[i.Number-1]) })
	for i := range infos {
		infos[i].Number = i + 1
	}
	return infos
}

// Reason says in a few words why a tracker cannot be used.
func (i Info) Reason() string {
	if i.Err == nil {
		return ""
	}
	return reason(i.Err)
}
