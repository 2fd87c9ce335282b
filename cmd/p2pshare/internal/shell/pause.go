package shell

import (
	"context"
	"slices"

	"github.com/p2pshare/p2pshare/node"
	"github.com/p2pshare/p2pshare/protocol"
)

func pauseDownload(ctx context.Context, s *Shell, c call) (result, error) {
	return s.steer(c, "paused", func(d Download) error { return d.Pause(ctx) })
}

func resumeDownload(_ context.Context, s *Shell, c call) (result, error) {
	return s.steer(c, "resumed", Download.Resume)
}

func cancelDownload(ctx context.Context, s *Shell, c call) (result, error) {
	r, err := s.steer(c, "cancelled", func(d Download) error {
		if err := d.Cancel(ctx); err != nil {
			return err
		}
		s.told(d) // its end is told here and now
		return nil
	})
	delete(r.fields, "state") // it has none any more
	return r, err
}

// steer does something to the download that the command names.
func (s *Shell) steer(c call, done string, what func(Download) error) (result, error) {
	d, err := s.find(c.arg(0), c.arg(1))
	if err != nil {
		return result{}, err
	}
	if err := what(d); err != nil {
		return result{}, err
	}
	p := d.Progress()
	return line(fields{"group": p.Group, "name": p.Name, "state": string(p.State)}, "%s %s", done, protocol.Printable(p.Name)), nil
}

// find returns the latest download of that name. E_NOT_FOUND.
func (s *Shell) find(group, name string) (Download, error) {
	all, err := s.Client.Downloads()
	if err != nil {
		return nil, err
	}
	chosen := named(slices.Concat(s.background, all), group, name)
	if chosen == nil {
		return nil, protocol.Errorf(protocol.CodeNotFound, "there is no download of %s in %s", protocol.Quote(name), protocol.Quote(group))
	}
	return chosen[0], nil
}

// isPaused reports whether waiting for a download would have no end: only a
// command can let it go on.
func isPaused(d Download) bool { return d.Progress().State == node.Paused }
