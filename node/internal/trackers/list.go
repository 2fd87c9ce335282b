package trackers

import (
	"context"
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
	return infos
}

// Reason says in a few words why a tracker cannot be used.
func (i Info) Reason() string {
	if i.Err == nil {
		return ""
	}
	return reason(i.Err)
}
